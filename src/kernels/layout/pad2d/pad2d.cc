#include "../pad2d/paddedIndex.h"

namespace LOWBIT_ISA {

void pad2d(int32_t mode, const float* x, float* y, int32_t planes, int32_t height, int32_t width,
           int32_t outHeight, int32_t outWidth, int32_t top, int32_t left) {
  eachPaddedRow(mode, planes, height, outHeight, outWidth, top, [=](int32_t p, int32_t r, int32_t row) {
    const float* from = x + ((size_t)p * height + row) * width;
    float* to = y + ((size_t)p * outHeight + r) * outWidth;
    for (int32_t c = 0; c < outWidth; c++) {
      int32_t col = paddedIndex(mode, c - left, width);
      to[c] = row < 0 || col < 0 ? 0 : from[col];
    }
  });
}

}  // namespace LOWBIT_ISA
