#include "../../elementwise/unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void adadeltaStep(float* parameter, const float* gradient, float* square, float* change, float lr, float rate,
                  float epsilon, float weightDecay, int32_t count) {
  eachVector(count, [&](int32_t i, int32_t n) {
    f32v p = loadUpTo(parameter + i, n);
    f32v g = fma(splat(weightDecay), p, loadUpTo(gradient + i, n));
    f32v s = loadUpTo(square + i, n);
    f32v c = loadUpTo(change + i, n);
    s = fma(splat(rate), g * g - s, s);
    f32v delta = sqrt(c + epsilon) / sqrt(s + epsilon) * g;
    storeUpTo(square + i, s, n);
    storeUpTo(change + i, fma(splat(rate), delta * delta - c, c), n);
    storeUpTo(parameter + i, fma(splat(-lr), delta, p), n);
  });
}

}  // namespace LOWBIT_ISA
