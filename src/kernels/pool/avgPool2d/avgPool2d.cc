#include "../avgPool2d/share.h"
#include "simd.h"

namespace LOWBIT_ISA {

void avgPool2d(const float* x, float* y, int32_t planes, int32_t height, int32_t width, int32_t outHeight,
               int32_t outWidth, int32_t kernelHeight, int32_t kernelWidth, int32_t strideHeight,
               int32_t strideWidth, int32_t padHeight, int32_t padWidth, int32_t countPadding,
               int32_t divisor) {
  PoolAxis h{height, outHeight, kernelHeight, strideHeight, padHeight, 1},
      w{width, outWidth, kernelWidth, strideWidth, padWidth, 1};
  eachRow(planes, height * width, [&](int32_t p) {
    const float* plane = x + (size_t)p * height * width;
    float* out = y + (size_t)p * outHeight * outWidth;
    eachAverage(h, w, countPadding, divisor,
                [&](size_t o, const PoolShare& rows, const PoolShare& cols, int32_t values) {
                  double sum = 0;
                  bool empty = rows.start >= rows.end || cols.start >= cols.end;
                  /* Rows that are whole lie behind one another. */
                  const int32_t one = cols.end - cols.start;
                  const int32_t length = one == width ? (rows.end - rows.start) * width : one;
                  for (int32_t i = rows.start; i < rows.end && !empty; i += one == width ? height : 1) {
                    sum += rowSum(plane + (size_t)i * width + cols.start, length, [](auto v) { return v; });
                  }
                  out[o] = empty ? 0 : (float)(sum / values);
                });
  });
}

}  // namespace LOWBIT_ISA
