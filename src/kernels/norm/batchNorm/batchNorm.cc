#include "../batchNorm/channel.h"
#include "simd.h"

namespace LOWBIT_ISA {

void batchNorm(const float* x, const float* weight, const float* bias, float epsilon, float momentum,
               float* y, float* mean, float* inverse, float* runningMean, float* runningVariance,
               int32_t* batches, int32_t outer, int32_t channels, int32_t inner) {
  double n = (double)outer * inner, m = momentum;
  eachChannel(outer, channels, inner, [&](int32_t c) {
    double sum = 0, square = 0;
    eachStretch(outer, channels, inner, c,
                [&](size_t at) { sum += rowSum(x + at, inner, [](auto v) { return v; }); });
    double center = sum / n;
    eachStretch(outer, channels, inner, c, [&](size_t at) {
      square += rowSum(x + at, inner, [&](auto v) { auto d = v - center; return d * d; });
    });
    double scale = 1 / __builtin_sqrt(square / n + epsilon);
    mean[c] = (float)center;
    inverse[c] = (float)scale;
    float factor = (float)(weight ? scale * weight[c] : scale), middle = (float)center,
          shift = bias ? bias[c] : 0;
    eachStretch(outer, channels, inner, c, [&](size_t at) {
      for (int32_t i = 0; i < inner; i += LANES) {
        storeUpTo(y + at + i, fma(loadUpTo(x + at + i, inner - i) - middle, splat(factor), splat(shift)),
                  inner - i);
      }
    });
    if (runningMean) runningMean[c] = (float)((1 - m) * runningMean[c] + m * center);
    if (runningVariance) runningVariance[c] = (float)((1 - m) * runningVariance[c] + m * square / (n - 1));
  });
  if (batches && ++batches[0] == 0) batches[1]++;
}

}  // namespace LOWBIT_ISA
