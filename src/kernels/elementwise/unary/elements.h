#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/* Values per task of what is computed value by value. */
constexpr int32_t elementPiece = 1 << 14;

/* body(i, n) for every vector: n values from i on, LANES but at the end. */
template <class Body> INLINE void eachVector(int32_t count, Body body) {
  parallelFor((int32_t)(((int64_t)count + elementPiece - 1) / elementPiece), [&](int32_t piece) {
    int32_t i = piece * elementPiece;
    int32_t end = count - i < elementPiece ? count : i + elementPiece;
    for (; i <= end - LANES; i += LANES) body(i, LANES);
    if (i < end) body(i, end - i);
  });
}

}  // namespace LOWBIT_ISA
