#include "../pad2d/paddedIndex.h"

namespace LOWBIT_ISA {

void pad2dGradient(int32_t mode, const float* dy, float* dx, int32_t planes, int32_t height, int32_t width,
                   int32_t outHeight, int32_t outWidth, int32_t top, int32_t left) {
  eachPaddedRow(mode, planes, height, outHeight, outWidth, top, [=](int32_t p, int32_t r, int32_t row) {
    float* plane = dx + (size_t)p * height * width;
    if (r == 0) __builtin_memset(plane, 0, (size_t)height * width * sizeof(float));
    if (row < 0) return;
    const float* from = dy + ((size_t)p * outHeight + r) * outWidth;
    for (int32_t c = 0; c < outWidth; c++) {
      int32_t col = paddedIndex(mode, c - left, width);
      if (col >= 0) plane[row * width + col] += from[c];
    }
  });
}

}  // namespace LOWBIT_ISA
