#include "../gemm/span.h"
#include "oneRow.h"

/* Many rows of x: bound by arithmetic. */

namespace LOWBIT_ISA {

/*
 * A panel is a slice of w, its codes spread to bytes once and then used for every row of x, in pieces of 32
 * columns. Rows of w lie in lanes, INT8_VECTORS vectors of them a strip; a tile of INT8_ROWS rows of x and a
 * strip keeps its integer sums in registers over a run of pieces that lie in one group of x (and so of w). A
 * panel holds whole groups, or a part of one. Behind the last column x is zero, so that the last piece may be
 * taken for a whole one.
 */
constexpr int INT8_VECTORS = 2;
constexpr int INT8_STRIP = INT8_VECTORS * LANES;
/* Columns of a panel: two strips or more, which share what is gathered of x. */
constexpr int INT8_COLS = LANES == 16 ? 64 : 32;
constexpr int INT8_ROWS = LANES == 16 ? 6 : 4;
constexpr int INT8_DEPTH = 768;
constexpr int INT8_PIECES = INT8_DEPTH / 32;
/*
 * Rows of x in one task, at most; their bytes of one panel stay in the second-level cache. A prompt of 512 tokens
 * is one task, so that a panel is made once for all of it.
 */
constexpr int INT8_TASK_ROWS = 516;

/*
 * 32 columns of a strip, four after four of each row; int8 that is multiplied in pairs has a plane of low and
 * one of high four bits. Groups of 16 columns are two of a piece.
 */
template <int planes, int groups> struct Int8Piece {
  uint8_t codes[planes][8][INT8_STRIP * 4];
  float scale[groups][INT8_STRIP];
  float shift[groups][INT8_STRIP];
};

/* One per thread, for pieces of as many planes as there may be. */
constexpr int INT8_MOST_PLANES = HAS_PAIRS && INT8_OFFSET ? 2 : 1;
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
  /* The scales of all rows, then their sums. */
  alignas(64) float factors[2 * INT8_ROWS][INT8_RUNS];
};

/* Σ of n signed bytes. */
static float int8Sum(const uint8_t* x, int32_t n) {
  i32v sums = {};
  int32_t i = 0;
  for (; i + LANES * 4 <= n; i += LANES * 4) sums = dotCodes(sums, splat(0x01010101u), loadAs<u32v>(x + i));
  int32_t total = 0;
  for (int lane = 0; lane < LANES; lane++) total += sums[lane];
  for (; i < n; i++) total += (int8_t)x[i];
  return (float)total;
}

/*
 * The columns k … k + depth - 1 of x, `run` of them at a time. Where a tile has a row behind the last, it is
 * that one again.
 */
template <bool bytes>
static void int8Gather(Int8Block& block, const ByteRows& x, int32_t m, int32_t rows, int32_t k, int32_t depth,
                       int32_t run) {
  const bool whole = x.groupSize <= run;
  const int32_t first = k / x.groupSize, runs = whole ? (depth + run - 1) / run : 1;
  for (int32_t r = 0; r < rows + rows % 2; r++) {
    const size_t row = m + (r < rows ? r : rows - 1), group = row * x.groups + first;
    block.codes[r] = x.codes + row * x.stride + k;
    const float partial = whole ? 0 : int8Sum(block.codes[r], depth);
    for (int32_t i = 0; i <= runs; i += LANES) {
      f32v scale = loadUpTo(x.scale + group + i, runs - i),
           sum = whole ? loadUpTo(x.sum + group + i, runs - i) : splat(partial);
      store(block.factors[r] + i, scale);
      store(block.factors[INT8_ROWS + r] + i, bytes ? sum : -(scale * sum));
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
            opaque(pairs[r][v]);
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

/* How the columns of a panel share scales. */
enum Int8Groups : int32_t {
  HALF_PIECES, /* groups of 16 columns */
  PIECES,      /* of 32: no loop over pieces */
  MANY_PIECES  /* of more */
};

/*
 * The type that stands for all whose products are computed alike, by one function: bits below eight matter to
 * pairs alone, and fewer than 4 are as 4.
 */
template <int qtype, bool pairs>
constexpr int int8Alike = isBytes<qtype> || (pairs && TileRun<qtype>::bits > 4) ? qtype : QINT4;

/* How the codes of such a type are multiplied. */
template <int qtype, bool usePairs, int columns> struct Int8Way {
  static constexpr bool bytes = isBytes<qtype>, hasShift = isAffine<qtype>, pairs = usePairs;
  static constexpr bool longRuns = columns == MANY_PIECES;
  static constexpr int32_t offset = operandOffset<qtype>;
  static constexpr int bits = bytes ? 4 : TileRun<qtype>::bits, planes = bytes && pairs ? 2 : 1;
  static constexpr int groups = columns == HALF_PIECES ? 2 : 1;
  using Piece = Int8Piece<planes, groups>;
};

/*
 * One tile: y [count, cols] = start + x · strip, in runs of so many pieces; start may be y itself, one row
 * (startStride 0) or absent. Of its rows so many are stored.
 */
template <class Way, int rows>
static void int8Tile(int32_t count, const typename Way::Piece* w, const Int8Block& block, int32_t pieces,
                     int32_t piecesPerRun, const float* start, size_t startStride, float* y, size_t yStride,
                     int32_t cols) {
  constexpr int quads = 8 / Way::groups;
  f32v totals[rows][INT8_VECTORS] = {};
  const uint8_t* x[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) x[r] = block.codes[r];
  const float* factors = block.factors[0];
  auto scaleOf = [&](int r) { return factors[r * INT8_RUNS]; };
  auto sumOf = [&](int r) { return factors[(INT8_ROWS + r) * INT8_RUNS]; };
  for (; pieces > 0; pieces -= piecesPerRun, w++) {
#pragma GCC unroll 2
    for (int g = 0; g < Way::groups; g++, factors++) {
      opaque(factors);
      i32v sums[rows][INT8_VECTORS];
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < INT8_VECTORS; v++) sums[r][v] = int8Start<Way::offset>(sumOf(r));
      }
      /* The last piece of a run stays in w: scale and shift are the same in all of them. */
      for (int32_t left = pieces < piecesPerRun ? pieces : piecesPerRun;; w++) {
        opaque(w);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) opaque(x[r]);
        if constexpr (Way::pairs) int8Pairs<Way::bits, quads>(sums, *w, g * quads, x);
        else int8Dots<Way::bytes, quads>(sums, *w, g * quads, x);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) x[r] += 4 * quads;
        if (!Way::longRuns || --left == 0) break;
      }
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < INT8_VECTORS; v++) {
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
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
    if (r >= count) break;
#pragma GCC unroll 4
    for (int v = 0; v < INT8_VECTORS; v++) {
      /* Last, so that rounding does not grow with K. */
      if (start) totals[r][v] += loadUpTo(start + r * startStride + v * LANES, cols - v * LANES);
      storeUpTo(y + r * yStride + v * LANES, totals[r][v], cols - v * LANES);
    }
  }
}

/* int8Tile with the number of rows as a constant, an even one. */
template <class Way, int rows, class... Args>
INLINE void int8Rows(int32_t count, const typename Way::Piece* strip, const Int8Block& block, Args... args) {
  if constexpr (rows > 2) {
    if (count <= rows - 2) return int8Rows<Way, rows - 2>(count, strip, block, args...);
  }
  int8Tile<Way, rows>(count, strip, block, args...);
}

/* The panel of rows n .. n + INT8_COLS - 1 and of depth columns from k on, strip after strip. */
template <int qtype, int planes, int groups>
static void int8Fill(Int8Piece<planes, groups>* panel, const TiledWeights& w, int32_t n, int32_t k,
                     int32_t depth, int32_t N) {
  const bool zeroPoints = hasZeroPoints(w);
  for (int c = 0; c < INT8_COLS; c += LANES) {
    int32_t row = n + c;
    /* Lanes without a row of w are never stored, but must be readable. */
    if (row / 16 * 16 >= N) row = n;
    Int8Piece<planes, groups>* strip = panel + c / INT8_STRIP * INT8_PIECES;
    GroupValues<1> values{row, groupOf(w, k + depth - 1) + 1};
    for (int32_t i = 0; i < depth; i += 32, strip++) {
      for (int quad = 0; quad < 8 && i + quad * 4 < depth; quad += int8Quads<qtype>) {
        const uint8_t* run = tileRun<qtype>(w, row, k + i + quad * 4);
        prefetchBehind<qtype>(run);
#pragma GCC unroll 8
        for (int j = 0; j < int8Quads<qtype>; j++) {
          u32v codes = int8Quad<qtype>(run, j, 64);
#pragma GCC unroll 2
          for (int plane = 0; plane < planes; plane++) {
            storeAs(strip->codes[plane][quad + j] + c % INT8_STRIP * 4,
                    planes == 1 ? codes : (codes >> (4 * plane)) & 0x0f0f0f0fu);
          }
        }
      }
      for (int g = 0; g < groups; g++) {
        /* Behind the last column x is zero. */
        int32_t column = k + i + g * (32 / groups) < w.K ? k + i + g * (32 / groups) : k + i;
        int place = groupPlace(w, values, column / w.groupSize);
        f32v scale = values.scales[place][0];
        store(strip->scale[g] + c % INT8_STRIP, scale);
        store(strip->shift[g] + c % INT8_STRIP, groupShift(zeroPoints, scale, values.offsets[place][0]));
      }
    }
  }
}

/*
 * The columns of a panel from column k on: whole groups of x, or what is left of one that is longer than a
 * panel.
 */
static int32_t int8Depth(const ByteRows& x, int32_t k, int32_t K) {
  int32_t groups = INT8_DEPTH / x.groupSize, left = K - k;
  int32_t most = groups > 0 ? groups * x.groupSize : INT8_DEPTH;
  if (groups == 0) left = groupEnd(k / x.groupSize, x.groupSize, K) - k;
  return left < most ? left : most;
}

/* Called once a panel, so that the products around it are compiled once and not for each type. */
template <class Way>
using Int8Fill = void (*)(typename Way::Piece*, const TiledWeights&, int32_t, int32_t, int32_t, int32_t);

/*
 * Rows of x in one task, whole tiles: fewer where there are not panels enough to keep all threads busy to the
 * end, but so many that a panel is worth its making.
 */
static int32_t int8TaskRows(int32_t M, int32_t panels) {
  int32_t blocks = ceilDivide(M, INT8_TASK_ROWS), wanted = ceilDivide(8 * threadCount(), panels);
  if (blocks < wanted) blocks = wanted < M / 96 ? wanted : M / 96;
  return ceilDivide(ceilDivide(M, blocks > 1 ? blocks : 1), INT8_ROWS) * INT8_ROWS;
}

template <class Way>
static void int8Multiply(Int8Fill<Way> fill, const TiledWeights& w, const ByteRows& x, const float* bias,
                         float* y, int32_t M, int32_t N) {
  int32_t panels = ceilDivide(N, INT8_COLS), taskRows = int8TaskRows(M, panels);
  int32_t rowBlocks = ceilDivide(M, taskRows);
  int32_t piecesPerRun = x.groupSize < INT8_DEPTH ? (x.groupSize + 31) / 32 : INT8_PIECES;
  parallelFor(rowBlocks * panels, [&](int32_t task) {
    auto* panel = (typename Way::Piece*)scratchHere<Int8Panel>().pieces;
    int32_t first = task / panels * taskRows, last = M - first < taskRows ? M : first + taskRows;
    int32_t n = task % panels * INT8_COLS, cols = N - n < INT8_COLS ? N - n : INT8_COLS;
    for (int32_t k = 0, depth; k < w.K; k += depth) {
      depth = int8Depth(x, k, w.K);
      int32_t pieces = (depth + 31) / 32;
      fill(panel, w, n, k, depth, N);
      for (int32_t m = first; m < last; m += INT8_ROWS) {
        int32_t rows = last - m < INT8_ROWS ? last - m : INT8_ROWS;
        Int8Block block;
        int8Gather<Way::bytes>(block, x, m, rows, k, depth, piecesPerRun * 32 / Way::groups);
        for (int32_t c = 0; c < cols; c += INT8_STRIP) {
          float* to = y + (size_t)m * N + n + c;
          const float* start = k > 0 ? to : bias ? bias + n + c : nullptr;
          const typename Way::Piece* strip = panel + c / INT8_STRIP * INT8_PIECES;
          int8Rows<Way, INT8_ROWS>(rows, strip, block, pieces, piecesPerRun, start,
                                   k > 0 ? N : 0, to, N, cols - c);
        }
      }
    }
  });
}

template <int qtype, bool pairs, int columns>
static void int8ManyRows(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t M,
                         int32_t N) {
  using Way = Int8Way<int8Alike<qtype, pairs>, pairs, columns>;
  int8Multiply<Way>(int8Fill<qtype, Way::planes, Way::groups>, w, x, bias, y, M, N);
}

template <int qtype, bool pairs>
static void int8Runs(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t M,
                     int32_t N) {
  /* Bytes in groups of 16 are rare, and serve without pairs. */
  constexpr bool halfPairs = pairs && !isBytes<qtype>;
  if (x.groupSize == 16) return int8ManyRows<qtype, halfPairs, HALF_PIECES>(w, x, bias, y, M, N);
  /*
   * Codes in several planes are rare, and bytes with a shift: one function serves them, whose loop over
   * pieces may take one.
   */
  if constexpr (TileRun<qtype>::words == 1 && qtype != QUINT8) {
    if (x.groupSize <= 32) return int8ManyRows<qtype, pairs, PIECES>(w, x, bias, y, M, N);
  }
  int8ManyRows<qtype, pairs, MANY_PIECES>(w, x, bias, y, M, N);
}

template <int qtype, bool pairs>
static void qmatmulInt8By(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t M,
                          int32_t N) {
  if (M == 1) return int8OneRow<qtype, pairs && hasRowPairs<qtype>>(w, x, bias, y, N);
  int8Runs<qtype, pairs>(w, x, bias, y, M, N);
}

template <int qtype>
static void qmatmulInt8Of(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t M,
                          int32_t N) {
  /*
   * Eight bits in pairs take two planes, which pays where a relaxed dot product would have to split them, too.
   * Of seven bits no two results fit 16 bits.
   */
  if constexpr (HAS_PAIRS && (isBytes<qtype> ? INT8_MOST_PLANES == 2 : TileRun<qtype>::bits < 7)) {
    if (pairsAreFaster()) return qmatmulInt8By<qtype, true>(w, x, bias, y, M, N);
  }
  qmatmulInt8By<qtype, false>(w, x, bias, y, M, N);
}

void qmatmulInt8(const uint8_t* x, const float* xScale, const float* xSum, int32_t xGroupSize,
                 const uint8_t* codes, int32_t qtype, const void* scale, const void* offset,
                 int32_t scaleDtype, int32_t offsetDtype, const float* bias, float* y, int32_t M, int32_t N,
                 int32_t K, int32_t groupSize, const int32_t* span, const void* scaleValues,
                 const void* offsetValues, int32_t valueDtype, int32_t scaleBits, int32_t scaleZero,
                 int32_t offsetBits, int32_t shared, int32_t zeroPoint) {
  const Span part = spanOf(span, M);
  if (part.count <= 0) return;
  const TiledWeights w =
      tiledWeights(codes, {scale, scaleDtype, scaleBits, scaleZero, scaleValues},
                   {offset, offsetDtype, offsetBits, 0, offsetValues}, valueDtype, shared, zeroPoint, K,
                   groupSize);
  size_t stride = ((size_t)K + 63) / 64 * 64;
  int32_t groups = (int32_t)(((int64_t)K + xGroupSize - 1) / xGroupSize);
  size_t first = part.first;
  const ByteRows rows = {x + first * stride,    xScale + first * groups, xSum + first * groups, stride,
                         xGroupSize,            groups};
  y += first * N, M = part.count;
  withQType(qtype, [&](auto type) {
    constexpr int of = decltype(type)::value;
    if constexpr (hasDotProducts<of>) qmatmulInt8Of<of>(w, rows, bias, y, M, N);
    else __builtin_trap();
  });
}

}  // namespace LOWBIT_ISA
