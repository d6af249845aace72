#pragma once
#include "panel.h"

/* Factors of a product as bfloat16. */

namespace LOWBIT_ISA {

/* x rounded to bfloat16, ties to even. */
INLINE f32v roundBfloat16(f32v x) {
  u32v bits = bitsOf(x);
  u32v rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
  return floatOf(select((i32v)((bits & 0x7fffffffu) > 0x7f800000u), bits, rounded));
}

/* The same of so many values, a multiple of LANES. */
OUTLINE void roundFloats(float* values, int32_t count) {
  for (int32_t i = 0; i < count; i += LANES) store(values + i, roundBfloat16(load(values + i)));
}

#if LANES == 16

typedef uint16_t u16x32 __attribute__((vector_size(64)));

/*
 * The pairs of multiplyBlocks<Pairs>: two columns of a row in the halves of a lane, the first in the lower
 * one. What is subnormal counts as zero.
 */

/* 32 values of a row, the first n of them, as 16 pairs; zeros follow. */
INLINE f32v rowPairs(const float* row, int32_t n) {
  return (f32v)_mm512_cvtne2ps_pbh(loadUpTo(row + 16, n - 16), loadUpTo(row, n));
}

/* to [rows, pairs] = x, with TILE_STRIDE between rows. */
static void copyPairs(const float* x, size_t xStride, int32_t rows, int32_t columns, float* to) {
  for (int32_t r = 0; r < rows; r++) {
    const float* row = x + r * xStride;
    for (int32_t k = 0; k < columns; k += 32) {
      __builtin_prefetch(row + ROWS_AHEAD * xStride + k);
      __builtin_prefetch(row + ROWS_AHEAD * xStride + k + 16);
      store(to + r * TILE_STRIDE + k / 2, rowPairs(row + k, columns - k));
    }
  }
}

/*
 * to [⌈depth / 2⌉, PANEL_COLS] = the rows of a panel [depth, PANEL_COLS], two in one; behind the last are
 * zeros.
 */
static void pairRows(const float* panel, int32_t depth, float* to) {
  const u16x32 zip = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  for (int32_t k = 0; k < depth; k += 2) {
    for (int c = 0; c < PANEL_COLS; c += LANES) {
      const float* first = panel + k * PANEL_COLS + c;
      f32v second = k + 1 < depth ? load(first + PANEL_COLS) : f32v{};
      __m512i both = (__m512i)_mm512_cvtne2ps_pbh(second, load(first));
      store(to + k / 2 * PANEL_COLS + c, (f32v)_mm512_permutexvar_epi16((__m512i)zip, both));
    }
  }
}

#endif

}  // namespace LOWBIT_ISA
