#include "../batchNorm/channel.h"
#include "simd.h"

namespace LOWBIT_ISA {

void batchNormGrad(const float* x, const float* dy, const float* weight, const float* mean,
                   const float* inverse, float* dx, float* dweight, float* dbias, int32_t outer,
                   int32_t channels, int32_t inner) {
  double n = (double)outer * inner;
  eachChannel(outer, channels, inner, [&](int32_t c) {
    double sum = 0, dot = 0;
    eachStretch(outer, channels, inner, c, [&](size_t at) {
      sum += rowSum(dy + at, inner, [](auto v) { return v; });
      dot += rowDot(dy + at, x + at, inner);
    });
    dot = (dot - mean[c] * sum) * inverse[c];
    dweight[c] = (float)dot;
    dbias[c] = (float)sum;
    float factor = (weight ? weight[c] : 1) * inverse[c];
    float meanOf = (float)(sum / n), slope = (float)(inverse[c] * dot / n), middle = mean[c];
    eachStretch(outer, channels, inner, c, [&](size_t at) {
      for (int32_t i = 0; i < inner; i += LANES) {
        f32v gradient = loadUpTo(dy + at + i, inner - i) - meanOf;
        f32v centered = loadUpTo(x + at + i, inner - i) - middle;
        storeUpTo(dx + at + i, factor * (gradient - centered * slope), inner - i);
      }
    });
  });
}

}  // namespace LOWBIT_ISA
