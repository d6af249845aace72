#pragma once
#include "oneRow.h"

/* Many rows of x: pieces of w, and a block of x. */

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
/* Columns of a panel, at most and at least: two strips or more, which share what is gathered of x. */
constexpr int INT8_COLS = LANES == 16 ? 64 : LANES == 8 ? 128 : 32;
constexpr int INT8_LEAST_COLS = LANES == 16 ? 64 : 32;
/* Rows of a tile, at most: so many as registers allow. */
constexpr int INT8_ROWS = LANES == 16 || HAS_WIDE ? 6 : 4;
/*
 * Columns of K in a panel: so many that y is seldom read and written again between them, but that a panel
 * (400 KB with its scales) stays in the second-level cache; a thread of WebAssembly has less for all its
 * variables.
 */
constexpr int INT8_DEPTH = LANES == 16 ? 4096 : LANES == 8 ? 1024 : 768;
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
  /* Where they are split. */
  const struct Int8Split* split;
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
  static constexpr bool split = bytes && HAS_WIDE && longRuns, wide = bytes && HAS_WIDE && !longRuns;
  static constexpr int32_t offset = operandOffset<qtype> + (split ? 128 : 0);
  static constexpr int bits = bytes ? 4 : TileRun<qtype>::bits, planes = bytes && (pairs || wide) ? 2 : 1;
  static constexpr int groups = columns == HALF_PIECES ? 2 : 1;
  /* Pairs take registers for what they are multiplied by at the end of a group. */
  static constexpr int rows = LANES == 16 || wide ? INT8_ROWS : 4;
  using Piece = Int8Piece<planes, groups>;
};

/* to = so many pieces of signed bytes, as numbers of 16 bits; those `ahead` bytes behind are asked for. */
INLINE const uint8_t* int8Widen(const uint8_t* codes, int32_t pieces, int16_t* to, size_t ahead) {
  for (int32_t i = 0; i < pieces * 32; i += LANES * 2) {
    if (i % 64 == 0) __builtin_prefetch(codes + ahead + i, 0, 2);
    storeAs(to + i, widenSigned(codes + i));
  }
  return (const uint8_t*)to;
}

/*
 * The columns of x from k on. Where a tile has a row behind the last, it is that one again. Shifts of shared
 * scales are multiplied once, by the sum so far.
 */
template <bool wide, bool bytes, int groups, bool together>
OUTLINE void int8Gather(Int8Block& block, const ByteRows& x, int32_t m, int32_t rows, int32_t k,
                        const Int8Runs& run) {
  const int32_t first = k / x.groupSize, most = ceilDivide(run.pieces, run.each) * groups;
  const int32_t runs = x.groups - first < most ? x.groups - first : most;
  for (int32_t r = 0; r < rows + rows % 2; r++) {
    const size_t row = m + (r < rows ? r : rows - 1), group = row * x.groups + first;
    block.codes[r] = x.codes + row * x.stride + k;
    if constexpr (wide)
      block.codes[r] = int8Widen(block.codes[r], run.pieces, block.wide[r], rows * x.stride);
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

}  // namespace LOWBIT_ISA
