#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/* 1 / (1 + e^-x), from e^-|x| so that nothing overflows and small results keep their digits. */
INLINE f32v sigmoid(f32v x) {
  f32v e = expOfNegative(floatOf(bitsOf(x) | 0x80000000u));
  return select((i32v)x < 0, e, splat(1.0f)) / (e + 1.0f);
}

}  // namespace LOWBIT_ISA
