#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * Below 1 a quotient of polynomials (Lambert's continued fraction to its seventh term, within 1e-9), above it
 * 1 - 2 / (e^2|x| + 1).
 */
INLINE f32v tanh(f32v x) {
  f32v size = abs(x), x2 = x * x;
  f32v over = ((x2 + 378.0f) * x2 + 17325.0f) * x2 + 135135.0f;
  f32v under = ((x2 * 28.0f + 3150.0f) * x2 + 62370.0f) * x2 + 135135.0f;
  f32v large = 1.0f - 2.0f / (exp(size + size) + 1.0f);
  large = floatOf(bitsOf(large) | (bitsOf(x) & 0x80000000u));
  return select(size < 1.0f, x * (over / under), large);
}

INLINE float tanh(float x) { return tanh(splat(x))[0]; }

}  // namespace LOWBIT_ISA
