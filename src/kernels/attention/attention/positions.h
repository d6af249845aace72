#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * Where the first token of sequence b stands: at `position`, or as far behind it as `positions` [batch] says.
 * A sequence that stands before 0 is left out: nothing of it is written or seen.
 */
INLINE int32_t firstPosition(int32_t position, const int32_t* positions, int32_t b) {
  return positions ? position + positions[b] : position;
}

}  // namespace LOWBIT_ISA
