#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/* Values per task of a step; each of them is a read and a write of several arrays. */
constexpr int32_t stepPiece = 1 << 14;

/* body(i, n) for vectors of n values from i on, n = LANES but for the last of all; pieces are tasks. */
template <class Body> INLINE void eachVector(int32_t count, Body body) {
  if (count <= 0) return;
  parallelFor((int32_t)(((int64_t)count + stepPiece - 1) / stepPiece), [&](int32_t task) {
    int32_t i = task * stepPiece;
    int32_t end = count - i < stepPiece ? count : i + stepPiece;
    for (; i <= end - LANES; i += LANES) body(i, LANES);
    if (i < end) body(i, end - i);
  });
}

}  // namespace LOWBIT_ISA
