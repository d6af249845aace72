#pragma once
#include "pieces.h"

/* Products of bytes that are widened to 16 bits, those of w and of x (dotWide). */

namespace LOWBIT_ISA {

/* A copy of a tile's vectors, for functions of their own: what they are made in stays in registers. */
template <class V, int rows> struct Int8Kept {
  V of[rows][INT8_VECTORS];
};
template <class V, int rows> INLINE Int8Kept<V, rows> int8Keep(const V (&from)[rows][INT8_VECTORS]) {
  Int8Kept<V, rows> kept;
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < INT8_VECTORS; v++) kept.of[r][v] = from[r][v];
  return kept;
}

/* sums [rows, INT8_VECTORS] += w · x over so many quads of columns of a piece, from quad `from` on. */
template <int quads, int rows, int groups>
INLINE void int8WideDots(i32v (&sums)[rows][INT8_VECTORS], const Int8Piece<2, groups>& w, int from,
                         const uint8_t* const (&x)[rows]) {
  for (int quad = 0; quad < quads; quad++) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      u32v weights[INT8_VECTORS];
#pragma GCC unroll 4
      for (int v = 0; v < INT8_VECTORS; v++)
        weights[v] = loadAs<u32v>(w.codes[half][from + quad] + v * LANES * 4);
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
        u32v values = int8Splat(x[r] + 8 * quad + 4 * half);
#pragma GCC unroll 4
        for (int v = 0; v < INT8_VECTORS; v++) {
          sums[r][v] = dotWide(sums[r][v], weights[v], values);
          inOrder(sums[r][v]);
        }
      }
    }
  }
}

}  // namespace LOWBIT_ISA
