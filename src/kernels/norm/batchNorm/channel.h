#pragma once
#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * body(c) for every channel of [outer, channels, inner], as many a task as make it worth one. A channel that
 * is passed over twice is still in the cache the second time.
 */
template <class Body> INLINE void eachChannel(int32_t outer, int32_t channels, int32_t inner, Body body) {
  int64_t values = (int64_t)outer * inner;
  eachRow(channels, values < rowPiece ? (int32_t)values : rowPiece, body);
}

/* part(x) for each of the stretches of channel c: inner values from an offset on. */
template <class Part>
INLINE void eachStretch(int32_t outer, int32_t channels, int32_t inner, int32_t c, Part part) {
  for (int32_t o = 0; o < outer; o++) part(((size_t)o * channels + c) * inner);
}

}  // namespace LOWBIT_ISA
