#include "../avgPool2d/share.h"
#include "simd.h"

namespace LOWBIT_ISA {

void avgPool2dGrad(const float* dy, float* dx, int32_t planes, int32_t height, int32_t width,
                   int32_t outHeight, int32_t outWidth, int32_t kernelHeight, int32_t kernelWidth,
                   int32_t strideHeight, int32_t strideWidth, int32_t padHeight, int32_t padWidth,
                   int32_t countPadding, int32_t divisor) {
  PoolAxis h{height, outHeight, kernelHeight, strideHeight, padHeight, 1},
      w{width, outWidth, kernelWidth, strideWidth, padWidth, 1};
  eachRow(planes, height * width, [&](int32_t p) {
    float* plane = dx + (size_t)p * height * width;
    const float* from = dy + (size_t)p * outHeight * outWidth;
    __builtin_memset(plane, 0, (size_t)height * width * sizeof(float));
    eachAverage(h, w, countPadding, divisor,
                [&](size_t o, const PoolShare& rows, const PoolShare& cols, int32_t values) {
                  float share = from[o] / (float)values;
                  for (int32_t i = rows.start; i < rows.end; i++) {
                    for (int32_t k = cols.start; k < cols.end; k++) plane[(size_t)i * width + k] += share;
                  }
                });
  });
}

}  // namespace LOWBIT_ISA
