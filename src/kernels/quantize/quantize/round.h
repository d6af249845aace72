#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/* Each value of x rounded to dtype. */
template <int dtype> INLINE f32v roundTo(f32v x) {
  if constexpr (dtype == FLOAT32) return x;
  uint8_t patterns[LANES * 4];
  storeFloat<dtype>(patterns, 0, x);
  return loadFloat<dtype>(patterns, 0);
}

}  // namespace LOWBIT_ISA
