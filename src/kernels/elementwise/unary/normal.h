#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * Φ(-|x|) / e^(-x²/2) = t·P(t) with t = 1 / (1 + 0.3·|x|), within 2 ulp up to |x| = 14.5, beyond which
 * float32 has no such tails. P of degree 9 was fitted to erfcx by weighted least squares in t (relative error
 * 4e-9).
 */
INLINE f32v normalTail(f32v x) {
  constexpr float coefficients[] = {0.11968669f, 0.11957181f, 0.11023547f, 0.07838944f, 0.09615744f,
                                    -0.07942463f, 0.19178593f, -0.22821465f, 0.11243606f, -0.02062355f};
  f32v t = 1.0f / fma(abs(x), splat(0.3f), splat(1.0f));
  f32v p = splat(coefficients[9]);
  for (int i = 8; i >= 0; i--) p = fma(p, t, splat(coefficients[i]));
  return t * p;
}

/* Φ(x), given e^(-x²/2). */
INLINE f32v normalCdf(f32v x, f32v bell) {
  f32v tail = bell * normalTail(x);
  return select(x < 0.0f, tail, 1.0f - tail);
}

/* ∫ of the standard normal density from -∞ to x. */
INLINE f32v normalCdf(f32v x) { return normalCdf(x, exp(x * x * -0.5f)); }

/* √(2/π)·(x + 0.044715·x³) */
INLINE f32v tanhGeluSlope(f32v x) { return x * fma(x * x, splat(0.035677408f), splat(0.79788456f)); }

}  // namespace LOWBIT_ISA
