#pragma once
#include "split.h"

/* Many rows of x: the tile that multiplies pieces of w and a block of x. */

namespace LOWBIT_ISA {

/* sums [rows, INT8_VECTORS] += w · x over so many quads of columns of a piece, from quad `from` on. */
template <bool bytes, int quads, int rows, int groups>
INLINE void int8Dots(i32v (&sums)[rows][INT8_VECTORS], const Int8Piece<1, groups>& w, int from,
                     const uint8_t* const (&x)[rows]) {
  for (int quad = 0; quad < quads; quad++) {
    u32v weights[INT8_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < INT8_VECTORS; v++) weights[v] = loadAs<u32v>(w.codes[0][from + quad] + v * LANES * 4);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      u32v values = int8Splat(x[r] + 4 * quad);
#pragma GCC unroll 4
      for (int v = 0; v < INT8_VECTORS; v++) sums[r][v] = int8Dot<bytes>(sums[r][v], weights[v], values);
    }
  }
}

/* The same by dotPairs, of codes of so many bits: as many results of it as fit 16 bits at a time. */
template <int bits, int quads, int rows, int planes, int groups>
INLINE void int8Pairs(i32v (&sums)[rows][INT8_VECTORS], const Int8Piece<planes, groups>& w, int from,
                      const uint8_t* const (&x)[rows]) {
  constexpr int most = pairsFit<bits> < quads ? pairsFit<bits> : quads;
#pragma GCC unroll 2
  for (int plane = 0; plane < planes; plane++) {
#pragma GCC unroll 8
    for (int first = 0; first < quads; first += most) {
      i16v pairs[rows][INT8_VECTORS] = {};
#pragma GCC unroll 8
      for (int quad = first; quad < first + most; quad++) {
        u32v weights[INT8_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < INT8_VECTORS; v++)
          weights[v] = loadAs<u32v>(w.codes[plane][from + quad] + v * LANES * 4);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
          u32v values = int8Splat(x[r] + 4 * quad);
          /* All products of a row before their sums: a processor packs its ports more tightly then. */
          i16v products[INT8_VECTORS];
#pragma GCC unroll 4
          for (int v = 0; v < INT8_VECTORS; v++) {
            products[v] = dotPairs(weights[v], values);
            if (LANES == 8) inOrder(products[v]);
          }
#pragma GCC unroll 4
          for (int v = 0; v < INT8_VECTORS; v++) {
            pairs[r][v] += products[v];
            inOrder(pairs[r][v]);
          }
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < INT8_VECTORS; v++) sums[r][v] += sumPairs(pairs[r][v]) << (4 * plane);
      }
    }
  }
}

/* Sums of `count` rows of a tile, kept as integers where y will lie. */
template <int rows>
OUTLINE void int8LoadSums(int32_t count, Int8Kept<i32v, rows>& sums, const float* y, size_t yStride,
                          int32_t cols) {
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < INT8_VECTORS; v++)
      sums.of[r][v] = (i32v)loadUpTo(y + r * yStride + v * LANES, r < count ? cols - v * LANES : 0);
}
template <int rows>
OUTLINE void int8StoreSums(int32_t count, const Int8Kept<i32v, rows>& sums, float* y, size_t yStride,
                           int32_t cols) {
  for (int r = 0; r < rows && r < count; r++)
    for (int v = 0; v < INT8_VECTORS; v++)
      storeUpTo(y + r * yStride + v * LANES, (f32v)sums.of[r][v], cols - v * LANES);
}

/*
 * The end of a tile: y [count, cols] = start + totals. It is added last, so that rounding does not grow with
 * K.
 */
template <int rows>
OUTLINE void int8End(int32_t count, const Int8Kept<f32v, rows>& totals, const float* start,
                     size_t startStride, float* y, size_t yStride, int32_t cols) {
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
    if (r >= count) break;
#pragma GCC unroll 4
    for (int v = 0; v < INT8_VECTORS; v++) {
      f32v total = totals.of[r][v];
      if (start) total += loadUpTo(start + r * startStride + v * LANES, cols - v * LANES);
      storeUpTo(y + r * yStride + v * LANES, total, cols - v * LANES);
    }
  }
}

/*
 * One tile: y [count, cols] = start + x · strip, or sums that go on; start may be y itself, one row
 * (startStride 0) or absent. Of its rows so many are stored.
 */
template <class Way, int rows>
static void int8Tile(int32_t count, const typename Way::Piece* w, const Int8Block& block,
                     const Int8Runs& runs, const float* start, size_t startStride, float* y, size_t yStride,
                     int32_t cols) {
  constexpr int quads = 8 / Way::groups;
  const auto* strip = w;
  f32v totals[rows][INT8_VECTORS] = {}, parts[rows][INT8_VECTORS] = {};
  int32_t unscaled = runs.unscaled;
  const uint8_t* x[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) x[r] = block.codes[r];
  /* Its place in y is brought near while its sums are made. */
  for (int r = 0; r < rows && r < count; r++)
    for (int c = 0; c < INT8_STRIP; c += 16) __builtin_prefetch(y + r * yStride + c, 1);
  const float* factors = block.factors[0];
  auto scaleOf = [&](int r) { return factors[r * INT8_RUNS]; };
  auto sumOf = [&](int r) { return factors[(INT8_ROWS + r) * INT8_RUNS]; };
  for (int32_t pieces = runs.pieces; pieces > 0; pieces -= runs.each, w++) {
#pragma GCC unroll 2
    for (int g = 0; g < Way::groups; g++, factors++) {
      opaque(factors);
      i32v sums[rows][INT8_VECTORS];
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < INT8_VECTORS; v++) sums[r][v] = int8Start<Way::offset>(sumOf(r));
      }
      if (Way::longRuns && !runs.begins) {
        Int8Kept<i32v, rows> before;
        int8LoadSums(count, before, y, yStride, cols);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
          for (int v = 0; v < INT8_VECTORS; v++) sums[r][v] = before.of[r][v];
      }
      /* The last piece of a run stays in w: scale and shift are the same in all of them. */
      for (int32_t left = pieces < runs.each ? pieces : runs.each;; w++) {
        opaque(w);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) opaque(x[r]);
        if constexpr (Way::split) {
          Int8Kept<i32v, rows> kept = int8Keep(sums);
          int8SplitRun(kept, strip, *block.split, w - strip, left, factors - block.factors[0]);
          for (int r = 0; r < rows; r++)
            for (int v = 0; v < INT8_VECTORS; v++) sums[r][v] = kept.of[r][v];
          w += left - 1;
          break;
        } else if constexpr (Way::wide) int8WideDots<quads>(sums, *w, g * quads, x);
        else if constexpr (Way::pairs) int8Pairs<Way::bits, quads>(sums, *w, g * quads, x);
        else int8Dots<Way::bytes, quads>(sums, *w, g * quads, x);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) x[r] += (Way::wide ? 8 : 4) * quads;
        if (!Way::longRuns || --left == 0) break;
      }
      if (Way::longRuns && !runs.ends) return int8StoreSums(count, int8Keep(sums), y, yStride, cols);
      if constexpr (Way::shared) {
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
          for (int v = 0; v < INT8_VECTORS; v++)
            parts[r][v] = fma(splat(scaleOf(r)), convert(sums[r][v]), parts[r][v]);
        }
        if (--unscaled > 0 && pieces > 1) continue;
        unscaled = runs.scaled;
      }
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < INT8_VECTORS; v++) {
          if constexpr (Way::shared) {
            totals[r][v] = fma(load(w->scale[g] + v * LANES), parts[r][v], totals[r][v]);
            if constexpr (Way::hasShift)
              totals[r][v] = fma(splat(sumOf(r)), load(w->shift[g] + v * LANES), totals[r][v]);
            parts[r][v] = f32v{};
            continue;
          }
          f32v scale = load(w->scale[g] + v * LANES) * scaleOf(r);
          totals[r][v] = fma(scale, convert(sums[r][v]), totals[r][v]);
          if constexpr (Way::hasShift) {
            f32v sum = splat(Way::bytes ? -(scaleOf(r) * sumOf(r)) : sumOf(r));
            totals[r][v] = fma(sum, load(w->shift[g] + v * LANES), totals[r][v]);
          }
        }
      }
    }
  }
  int8End(count, int8Keep(totals), start, startStride, y, yStride, cols);
}

/* int8Tile with the number of rows as a constant, an even one. */
template <class Way, int rows, class... Args>
INLINE void int8Rows(int32_t count, const typename Way::Piece* strip, const Int8Block& block, Args... args) {
  if constexpr (rows > 2) {
    if (count <= rows - 2) return int8Rows<Way, rows - 2>(count, strip, block, args...);
  }
  int8Tile<Way, rows>(count, strip, block, args...);
}

}  // namespace LOWBIT_ISA
