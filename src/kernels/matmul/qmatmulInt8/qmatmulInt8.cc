#include "../gemm/span.h"
#include "fewRows.h"
#include "tile.h"

/* Many rows of x: bound by arithmetic. */

namespace LOWBIT_ISA {

/* Of four codes, what lies in one of so many planes of a piece; bytes that x is split for are w + 128. */
template <int planes, bool bytes>
INLINE u32v int8Plane(u32v codes, int plane) {
  if constexpr (planes == 1) return bytes && HAS_WIDE ? codes ^ OFFSET_BYTES : codes;
  else if constexpr (HAS_WIDE) return widenHalf(codes, plane);
  else return (codes >> (4 * plane)) & 0x0f0f0f0fu;
}

/* The panel of `cols` rows from n on, whole strips, and of depth columns from k on, strip after strip. */
template <int qtype, int planes, int groups>
static void int8Fill(Int8Piece<planes, groups>* panel, const TiledWeights& w, int32_t n, int32_t cols,
                     int32_t k, int32_t depth, int32_t N) {
  const bool zeroPoints = hasZeroPoints(w);
  for (int32_t c = 0; c < cols; c += LANES) {
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
            const u32v operand = int8Plane<planes, isBytes<qtype>>(codes, plane);
            storeAs(strip->codes[plane][quad + j] + c % INT8_STRIP * 4, operand);
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

/* The columns of a panel from column k on: whole groups of x, or a part of the only one. */
static int32_t int8Depth(const ByteRows& x, int32_t k, int32_t K) {
  int32_t most = x.groups == 1 ? INT8_DEPTH : INT8_DEPTH / x.groupSize * x.groupSize;
  return K - k < most ? K - k : most;
}

/* Called once a panel, so that the products around it are compiled once and not for each type. */
template <class Way>
using Int8Fill = void (*)(typename Way::Piece*, const TiledWeights&, int32_t, int32_t, int32_t, int32_t,
                          int32_t);

/* Columns of a panel: so many that there are several panels for each thread. */
static int32_t int8Cols(int32_t N) {
  const int32_t cols = N / (8 * threadCount()) / INT8_LEAST_COLS * INT8_LEAST_COLS;
  return cols < INT8_LEAST_COLS ? INT8_LEAST_COLS : cols < INT8_COLS ? cols : INT8_COLS;
}

/*
 * Rows of x in one task, whole tiles: fewer where there are not panels enough to keep all threads busy to the
 * end, but so many that a panel is worth its making.
 */
static int32_t int8TaskRows(int32_t M, int32_t panels, int32_t tileRows) {
  int32_t blocks = ceilDivide(M, INT8_TASK_ROWS), wanted = ceilDivide(8 * threadCount(), panels);
  if (blocks < wanted) blocks = wanted < M / 96 ? wanted : M / 96;
  return ceilDivide(ceilDivide(M, blocks > 1 ? blocks : 1), tileRows) * tileRows;
}

template <class Way>
static void int8Multiply(Int8Fill<Way> fill, const TiledWeights& w, const ByteRows& x, const float* bias,
                         float* y, int32_t M, int32_t N) {
  const int32_t panelCols = int8Cols(N), panels = ceilDivide(N, panelCols);
  const int32_t taskRows = int8TaskRows(M, panels, Way::rows), rowBlocks = ceilDivide(M, taskRows);
  const int32_t deepest = int8Depth(x, 0, w.K), pieceBytes = sizeof(typename Way::Piece);
  const Int8Split* splits = nullptr;
  /* All panels use them. A single tile is split again for each, and so are all if there is no memory. */
  if (Way::split && M > Way::rows) splits = int8SplitAll(w, x, M, deepest, pieceBytes);
  parallelFor(rowBlocks * panels, [&](int32_t task) {
    auto* panel = (typename Way::Piece*)scratchHere<Int8Panel>().pieces;
    int32_t first = task / panels * taskRows, last = M - first < taskRows ? M : first + taskRows;
    int32_t n = task % panels * panelCols, cols = N - n < panelCols ? N - n : panelCols;
    for (int32_t k = 0, depth; k < w.K; k += depth) {
      depth = int8Depth(x, k, w.K);
      const Int8Runs runs = int8RunsOf(w, x, k, depth);
      fill(panel, w, n, ceilDivide(cols, INT8_STRIP) * INT8_STRIP, k, depth, N);
      for (int32_t m = first; m < last; m += Way::rows) {
        int32_t rows = last - m < Way::rows ? last - m : Way::rows;
        Int8Block block;
        int8Gather<Way::wide, Way::bytes, Way::groups, Way::shared && Way::hasShift>(block, x, m, rows, k,
                                                                                   runs);
        if constexpr (Way::split) {
          Int8Split& own = scratchHere<Int8Split>();
          if (!splits) int8Split(own, x, m, rows, runs, k, pieceBytes);
          block.split = splits ? splits + m / Way::rows * ceilDivide(w.K, deepest) + k / deepest : &own;
        }
        for (int32_t c = 0; c < cols; c += INT8_STRIP) {
          float* to = y + (size_t)m * N + n + c;
          const bool adds = k > 0 && x.groups > 1;
          const float* start = adds ? to : bias ? bias + n + c : nullptr;
          const typename Way::Piece* strip = panel + c / INT8_STRIP * INT8_PIECES;
          int8Rows<Way, Way::rows>(rows, strip, block, runs, start, adds ? N : 0, to, N, cols - c);
        }
      }
    }
  });
}

template <int qtype, bool pairs, int columns>
static void int8ManyRows(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t M,
                         int32_t N) {
  using Way = Int8Way<int8Alike<qtype, pairs>, pairs, columns>;
  const int32_t most = Way::split ? INT8_SPLIT_MOST : M;
  for (int32_t m = 0; m < M; m += most) {
    const size_t groups = (size_t)m * x.groups;
    const ByteRows rows = {x.codes + m * x.stride, x.scale + groups, x.sum + groups, x.stride,
                           x.groupSize,            x.groups};
    int8Multiply<Way>(int8Fill<qtype, Way::planes, Way::groups>, w, rows, bias, y + (size_t)m * N,
                      M - m < most ? M - m : most, N);
  }
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
  if constexpr (TileRun<qtype>::words == 1 && (qtype != QUINT8 || HAS_WIDE)) {
    if constexpr (LANES == 16) {
      if (x.groupSize == 32 && w.groupSize > 32 && w.groupSize % 32 == 0)
        return int8ManyRows<qtype, pairs, SHARED_SCALES>(w, x, bias, y, M, N);
    }
    if (x.groupSize <= 32) return int8ManyRows<qtype, pairs, PIECES>(w, x, bias, y, M, N);
  }
  int8ManyRows<qtype, pairs, MANY_PIECES>(w, x, bias, y, M, N);
}

template <int qtype, bool pairs>
static void qmatmulInt8By(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t M,
                          int32_t N) {
  if (M == 1) return int8OneRow<qtype, int8RowWay<qtype, pairs>>(w, x, bias, y, N);
#if LANES == 16
  if (int8FewRows<qtype>(w, x, bias, y, M, N)) return;
#endif
  int8Runs<qtype, pairs>(w, x, bias, y, M, N);
}

template <int qtype>
static void qmatmulInt8Of(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t M,
                          int32_t N) {
  /*
   * Eight bits in pairs take two planes, which pays where a relaxed dot product would have to split them,
   * too. Of seven bits no two results fit 16 bits.
   */
  if constexpr (HAS_PAIRS && (isBytes<qtype> ? INT8_OFFSET != 0 : TileRun<qtype>::bits < 7)) {
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
