#include "../../elementwise/unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void adamStep(float* parameter, const float* gradient, float* mean, float* square, float stepSize,
              float rate1, float rate2, float correction, float epsilon, float weightDecay, float keep,
              int32_t count) {
  eachVector(count, [&](int32_t i, int32_t n) {
    f32v p = loadUpTo(parameter + i, n);
    f32v g = fma(splat(weightDecay), p, loadUpTo(gradient + i, n));
    f32v m = loadUpTo(mean + i, n);
    f32v v = loadUpTo(square + i, n);
    m = fma(splat(rate1), g - m, m);
    v = fma(splat(rate2), g * g - v, v);
    storeUpTo(mean + i, m, n);
    storeUpTo(square + i, v, n);
    storeUpTo(parameter + i, splat(keep) * p - splat(stepSize) * m / (sqrt(v) / splat(correction) + epsilon),
              n);
  });
}

}  // namespace LOWBIT_ISA
