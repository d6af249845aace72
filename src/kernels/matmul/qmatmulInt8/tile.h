#pragma once
#include "oneRow.h"

/* Many rows of x: pieces of w, a block of x, and the tile that multiplies them. */

namespace LOWBIT_ISA {

/*
 * A panel is a slice of w, its codes spread to bytes once and then used for every row of x, in pieces of 32
 * columns. Rows of w lie in lanes, INT8_VECTORS vectors of them a strip; a tile of INT8_ROWS rows of x and a
 * strip keeps its integer sums in registers over a run of pieces that lie in one group of x (and so of w). A
 * panel holds whole groups of x, or a part of a row that is one, whose sums go on as integers from panel to
 * panel. Behind the last column x is zero, so that the last piece may be taken for a whole one.
 */
constexpr int INT8_VECTORS = 2;
constexpr int INT8_STRIP = INT8_VECTORS * LANES;
/* Columns of a panel: two strips or more, which share what is gathered of x. */
constexpr int INT8_COLS = LANES == 16 ? 64 : 32;
/* Rows of a tile, at most: so many as registers allow. */
constexpr int INT8_ROWS = LANES == 16 || HAS_WIDE ? 6 : 4;
/*
 * Columns of K in a panel: so many that y is seldom read and written again between them, but that a panel
 * (400 KB with its scales) stays in the second-level cache; a thread of WebAssembly has less for all its
 * variables.
 */
constexpr int INT8_DEPTH = LANES == 16 ? 4096 : 768;
constexpr int INT8_PIECES = INT8_DEPTH / 32;
/*
 * Rows of x in one task, at most; their bytes of one panel stay in the second-level cache. A prompt of 512
 * tokens is one task, so that a panel is made once for all of it.
 */
constexpr int INT8_TASK_ROWS = 516;

/*
 * 32 columns of a strip, four after four of each row; int8 that is multiplied in pairs has a plane of low and
 * one of high four bits, int8 that is widened (dotWide) one of the first two columns of each four and one of
 * the others. Groups of 16 columns are two of a piece.
 */
template <int planes, int groups> struct Int8Piece {
  uint8_t codes[planes][8][INT8_STRIP * 4];
  float scale[groups][INT8_STRIP];
  float shift[groups][INT8_STRIP];
};

/* One per thread, for pieces of as many planes as there may be. */
constexpr int INT8_MOST_PLANES = HAS_WIDE || (HAS_PAIRS && INT8_OFFSET) ? 2 : 1;
struct Int8Panel {
  alignas(64) uint8_t
      pieces[sizeof(Int8Piece<INT8_MOST_PLANES, 2>) * INT8_PIECES * (INT8_COLS / INT8_STRIP)];
};

/*
 * INT8_ROWS rows of x from one column on, and of each the scales of its runs, and what shifts are multiplied
 * by (codes of eight bits: the sums). Whole vectors are written, with zeros behind the last run.
 */
constexpr int INT8_RUNS = 2 * INT8_PIECES + 16;
struct Int8Block {
  const uint8_t* codes[INT8_ROWS];
  /* Where they are widened; their last piece is a whole one. */
  alignas(64) int16_t wide[HAS_WIDE ? INT8_ROWS : 1][HAS_WIDE ? INT8_PIECES * 32 : 1];
  /* The scales of all rows, then their sums. */
  alignas(64) float factors[2 * INT8_ROWS][INT8_RUNS];
};

/* How the columns of a panel share scales. */
enum Int8Groups : int32_t {
  HALF_PIECES,  /* groups of 16 columns */
  PIECES,       /* of 32: no loop over pieces */
  MANY_PIECES,  /* of more */
  SHARED_SCALES /* of 32 in x, of more in w */
};

/* The runs of a panel: pieces that lie in one group of x, and so of w. */
struct Int8Runs {
  int32_t pieces, each;    /* of the panel; of a run */
  int32_t scaled, unscaled; /* SHARED_SCALES: pieces that share a scale; so many of the panel's first ones */
  bool begins, ends; /* whether sums begin and end here; else y holds them as integers before or afterwards */
};

/* So much of K, from column k on. */
INLINE Int8Runs int8RunsOf(const TiledWeights& w, const ByteRows& x, int32_t k, int32_t depth) {
  const int32_t scaled = ceilDivide(w.groupSize, 32);
  return {ceilDivide(depth, 32), x.groups == 1 ? INT8_PIECES : ceilDivide(x.groupSize, 32), scaled,
          scaled - k / 32 % scaled, k == 0 || x.groups > 1, k + depth == w.K || x.groups > 1};
}

/*
 * The type that stands for all whose products are computed alike, by one function: bits below eight matter to
 * pairs alone, and fewer than 4 are as 4.
 */
template <int qtype, bool pairs>
constexpr int int8Alike = isBytes<qtype> || (pairs && TileRun<qtype>::bits > 4) ? qtype : QINT4;

/* How the codes of such a type are multiplied. */
template <int qtype, bool usePairs, int columns> struct Int8Way {
  static constexpr bool bytes = isBytes<qtype>, hasShift = isAffine<qtype>, pairs = usePairs;
  static constexpr bool longRuns = columns == MANY_PIECES, shared = columns == SHARED_SCALES;
  static constexpr int32_t offset = operandOffset<qtype>;
  static constexpr bool wide = bytes && HAS_WIDE;
  static constexpr int bits = bytes ? 4 : TileRun<qtype>::bits, planes = bytes && (pairs || wide) ? 2 : 1;
  static constexpr int groups = columns == HALF_PIECES ? 2 : 1;
  /* Pairs take registers for what they are multiplied by at the end of a group. */
  static constexpr int rows = LANES == 16 || wide ? INT8_ROWS : 4;
  using Piece = Int8Piece<planes, groups>;
};

/* to = so many pieces of signed bytes, as numbers of 16 bits. */
INLINE const uint8_t* int8Widen(const uint8_t* codes, int32_t pieces, int16_t* to) {
  typedef int8_t i8v __attribute__((vector_size(LANES * 2)));
  for (int32_t i = 0; i < pieces * 32; i += LANES * 2)
    storeAs(to + i, __builtin_convertvector(loadAs<i8v>(codes + i), i16v));
  return (const uint8_t*)to;
}

/*
 * The columns of x from k on. Where a tile has a row behind the last, it is that one again. Shifts of shared
 * scales are multiplied once, by the sum so far.
 */
template <bool bytes, int groups, bool together>
OUTLINE void int8Gather(Int8Block& block, const ByteRows& x, int32_t m, int32_t rows, int32_t k,
                        const Int8Runs& run) {
  const int32_t first = k / x.groupSize, most = ceilDivide(run.pieces, run.each) * groups;
  const int32_t runs = x.groups - first < most ? x.groups - first : most;
  for (int32_t r = 0; r < rows + rows % 2; r++) {
    const size_t row = m + (r < rows ? r : rows - 1), group = row * x.groups + first;
    block.codes[r] = x.codes + row * x.stride + k;
    if constexpr (bytes && HAS_WIDE) block.codes[r] = int8Widen(block.codes[r], run.pieces, block.wide[r]);
    for (int32_t i = 0; i <= runs; i += LANES) {
      f32v scale = loadUpTo(x.scale + group + i, runs - i), sum = loadUpTo(x.sum + group + i, runs - i);
      store(block.factors[r] + i, scale);
      store(block.factors[INT8_ROWS + r] + i, bytes ? sum : -(scale * sum));
    }
    if constexpr (together) {
      float* sums = block.factors[INT8_ROWS + r];
      for (int32_t i = 1, left = run.unscaled - 1; i < runs; i++, left--) {
        if (left == 0) left = run.scaled;
        else sums[i] += sums[i - 1];
      }
    }
  }
}

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

/* The same of bytes that are widened; those of x, too. */
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
#pragma GCC unroll 4
          for (int v = 0; v < INT8_VECTORS; v++) {
            pairs[r][v] += dotPairs(weights[v], values);
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

/* Sums of `count` rows of a tile, kept as integers where y will lie. */
template <int rows>
OUTLINE void int8LoadSums(int32_t count, Int8Kept<i32v, rows>& sums, const float* y, size_t yStride,
                          int32_t cols) {
  for (int r = 0; r < rows && r < count; r++)
    for (int v = 0; v < INT8_VECTORS; v++)
      sums.of[r][v] = (i32v)loadUpTo(y + r * yStride + v * LANES, cols - v * LANES);
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
static void int8Tile(int32_t count, const typename Way::Piece* w, const Int8Block& block, const Int8Runs& runs,
                     const float* start, size_t startStride, float* y, size_t yStride, int32_t cols) {
  constexpr int quads = 8 / Way::groups;
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
        Int8Kept<i32v, rows> before = {};
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
        if constexpr (Way::wide) int8WideDots<quads>(sums, *w, g * quads, x);
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
