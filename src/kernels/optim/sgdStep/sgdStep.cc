#include "../../elementwise/unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void sgdStep(float* parameter, const float* gradient, float* velocity, float lr, float momentum, float rate,
             int32_t nesterov, float weightDecay, int32_t count) {
  eachVector(count, [&](int32_t i, int32_t n) {
    f32v p = loadUpTo(parameter + i, n);
    f32v g = fma(splat(weightDecay), p, loadUpTo(gradient + i, n));
    f32v direction = g;
    if (velocity) {
      f32v v = fma(splat(momentum), loadUpTo(velocity + i, n), splat(rate) * g);
      storeUpTo(velocity + i, v, n);
      direction = nesterov ? fma(splat(momentum), v, g) : v;
    }
    storeUpTo(parameter + i, fma(splat(-lr), direction, p), n);
  });
}

}  // namespace LOWBIT_ISA
