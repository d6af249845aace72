#pragma once
#include "simd.h"

/* Which rows of x and y a product is of. */

namespace LOWBIT_ISA {

struct Span {
  int32_t first, count;
};

/* All rows, or those from span[0] to span[1]. */
INLINE Span spanOf(const int32_t* span, int32_t rows) {
  return span ? Span{span[0], span[1] - span[0]} : Span{0, rows};
}

}  // namespace LOWBIT_ISA
