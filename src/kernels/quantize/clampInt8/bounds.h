#pragma once
#include "simd.h"

/* Bounds of values as codes. */

namespace LOWBIT_ISA {

/* 1 / scale; 0 where the scale is. */
INLINE float reciprocal(float scale) { return scale == 0 ? 0 : 1 / scale; }

/* rne(bound / scale) within the codes of int8. */
INLINE float codeBound(float bound, float inverse) {
  if (__builtin_fabsf(bound) == __builtin_inff()) return bound > 0 ? 127 : -128;
  const float code = roundHalfEven(bound * inverse);
  return code > -128 ? code < 127 ? code : 127 : -128;
}

}  // namespace LOWBIT_ISA
