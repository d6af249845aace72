#include "../qmatmul/weights.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* Rows of signed bytes with a scale and a sum for each group of columns, as quantizeRows makes them. */
struct ByteRows {
  const uint8_t* codes;
  const float* scale;
  const float* sum;
  size_t stride;
  int32_t groupSize, groups;
};

/* Four columns of each lane's row as the operand of a dot product: quad j of a run of words that are `step` bytes apart. */
template <int qtype> INLINE u32v int8Quad(const uint8_t* run, int j, int32_t step) {
  u32v word = loadAs<u32v>(run + (qtype == QINT5 ? j / 2 : 0) * step);
  if constexpr (qtype == QINT2) return (word >> (2 * j)) & 0x03030303u;
  if constexpr (qtype == QINT4) return (word >> (4 * j)) & 0x0f0f0f0fu;
  if constexpr (qtype == QINT5) {
    u32v high = loadAs<u32v>(run + 4 * step);
    return ((word >> (4 * (j % 2))) & 0x0f0f0f0fu) | ((high >> j) & 0x01010101u) << 4;
  }
  return int8Operand(word);
}
template <int qtype> constexpr int int8Quads = TileRun<qtype>::columns / 4;

template <bool isInt8> INLINE i32v int8Dot(i32v sums, u32v w, u32v x) { return isInt8 ? dotInt8(sums, w, x) : dotCodes(sums, w, x); }

/* The same four columns of one row of x in every lane. */
INLINE u32v int8Splat(const uint8_t* x) { return splat(loadAs<uint32_t>(x)); }

/* total + xScale · (scale · dot − shift · sum); int8 has no shift. */
template <bool isInt8> INLINE f32v int8Combine(f32v total, i32v dot, float xScale, float sum, f32v scale, f32v shift) {
  f32v product = isInt8 ? scale * convert(dot) : fma(scale, convert(dot), -(shift * sum));
  return fma(splat(xScale), product, total);
}

/* What the sums of a group start from, so that what int8Operand added is taken away. */
template <bool isInt8> INLINE i32v int8Start(float sum) { return isInt8 && INT8_OFFSET ? splat(-INT8_OFFSET * (int32_t)sum) : i32v{}; }

/* -------------------------------------------------------------------------------------------------- one row of x: bound by memory */

constexpr int TILE_VECTORS = 16 / LANES;

/* y[n .. n + 15] of one row; a tile row of w is one stretch of memory, read once from front to back. */
template <int qtype>
static void int8TileRow(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t n, int32_t N) {
  using Run = TileRun<qtype>;
  f32v totals[TILE_VECTORS];
  for (int v = 0; v < TILE_VECTORS; v++) totals[v] = bias ? loadUpTo(bias + n + v * LANES, N - n - v * LANES) : f32v{};
  const uint8_t* run = tileRun<qtype>(w, n, 0);
  int32_t k = 0;
  for (int32_t g = 0; g < x.groups; g++) {
    int32_t group = k / w.groupSize, end = groupEnd(g, x.groupSize, w.K);
    /* Two chains, because each dot product waits for the one before. */
    i32v sums[2][TILE_VECTORS] = {};
    for (int v = 0; v < TILE_VECTORS; v++) sums[0][v] = int8Start<qtype == QINT8>(x.sum[g]);
    for (; k < end; k += Run::columns, run += 64 * Run::words) {
#pragma GCC unroll 8
      for (int j = 0; j < int8Quads<qtype>; j++) {
        u32v values = int8Splat(x.codes + k + 4 * j);
#pragma GCC unroll 4
        for (int v = 0; v < TILE_VECTORS; v++) {
          sums[j % 2][v] = int8Dot<qtype == QINT8>(sums[j % 2][v], int8Quad<qtype>(run + v * LANES * 4, j, 64), values);
        }
      }
    }
    k = end;
    for (int v = 0; v < TILE_VECTORS; v++) {
      f32v scale = tileFactors(w.scale, w, n + v * LANES, group), shift = tileFactors(w.shift, w, n + v * LANES, group);
      totals[v] = int8Combine<qtype == QINT8>(totals[v], sums[0][v] + sums[1][v], x.scale[g], x.sum[g], scale, shift);
    }
  }
  for (int v = 0; v < TILE_VECTORS; v++) storeUpTo(y + n + v * LANES, totals[v], N - n - v * LANES);
}

template <int qtype> static void int8OneRow(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t N) {
  /* A quarter of a million weights take some 20 microseconds. */
  int32_t tileRows = (N + 15) / 16, perTask = 16384 / w.K + 1;
  parallelFor((tileRows + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t t = task * perTask; t < (task + 1) * perTask && t < tileRows; t++) int8TileRow<qtype>(w, x, bias, y, t * 16, N);
  });
}

/* -------------------------------------------------------------------------------------------------- many rows of x: bound by arithmetic */

/*
 * A panel is a slice of w, its codes spread to bytes once and then used for every row of x: INT8_COLS rows of w lie in lanes, four columns
 * a vector; a tile of INT8_ROWS rows of x keeps its integer sums in registers.
 */
constexpr int INT8_COLS = LANES == 16 ? 32 : 16;
constexpr int INT8_VECTORS = INT8_COLS / LANES;
constexpr int INT8_ROWS = LANES == 16 ? 6 : LANES == 8 ? 4 : 2;
constexpr int INT8_DEPTH = 512;
/* Rows of x in one task; their bytes of one panel stay in the second-level cache. */
constexpr int INT8_TASK_ROWS = 384;

/* Columns of the panel that lie in one group of x (and so of w). */
struct Int8Part {
  int32_t start, end, group;
  bool whole; /* the whole group of x: its sum is known */
};

struct Int8Panel {
  alignas(64) uint8_t codes[INT8_DEPTH * INT8_COLS];
  alignas(64) float scale[INT8_DEPTH / 32 * INT8_COLS];
  alignas(64) float shift[INT8_DEPTH / 32 * INT8_COLS];
  Int8Part parts[INT8_DEPTH / 32];
  int32_t count;
};

/* Σ of n signed bytes. */
static float int8Sum(const uint8_t* x, int32_t n) {
  i32v sums = {};
  int32_t i = 0;
  for (; i + LANES * 4 <= n; i += LANES * 4) sums = dotCodes(sums, splat(0x01010101u), loadAs<u32v>(x + i));
  int32_t sum = 0;
  for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
  for (; i < n; i++) sum += (int8_t)x[i];
  return (float)sum;
}

/* INT8_ROWS rows of x from row m and column k on, with scale and sum of each part. */
struct Int8Block {
  const uint8_t* codes;
  size_t stride;
  int32_t rows;
  float scale[INT8_DEPTH / 32][INT8_ROWS];
  float sum[INT8_DEPTH / 32][INT8_ROWS];
};

static void int8Gather(Int8Block& block, const Int8Panel& panel, const ByteRows& x, int32_t m, int32_t k, int32_t rows) {
  block.codes = x.codes + m * x.stride + k;
  block.stride = x.stride;
  block.rows = rows;
  for (int32_t p = 0; p < panel.count; p++) {
    const Int8Part& part = panel.parts[p];
    for (int32_t r = 0; r < rows; r++) {
      size_t at = (size_t)(m + r) * x.groups + part.group;
      block.scale[p][r] = x.scale[at];
      block.sum[p][r] = part.whole ? x.sum[at] : int8Sum(block.codes + r * x.stride + part.start, part.end - part.start);
    }
  }
}

/* One tile: y [rows, cols] = start + x · panel; start may be y itself, one row (startStride 0) or absent. */
template <bool isInt8, int rows>
static void int8Tile(const Int8Panel& panel, const Int8Block& x, const float* start, size_t startStride, float* y, size_t yStride,
                     int32_t cols) {
  f32v totals[rows][INT8_VECTORS];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < INT8_VECTORS; v++) {
      totals[r][v] = start ? loadUpTo(start + r * startStride + v * LANES, cols - v * LANES) : f32v{};
    }
  }
  for (int32_t p = 0; p < panel.count; p++) {
    const uint8_t* w = panel.codes + (size_t)panel.parts[p].start * INT8_COLS;
    const uint8_t* codes = x.codes + panel.parts[p].start;
    i32v sums[rows][INT8_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
      for (int v = 0; v < INT8_VECTORS; v++) sums[r][v] = int8Start<isInt8>(x.sum[p][r]);
    }
    for (int32_t quads = (panel.parts[p].end - panel.parts[p].start + 3) / 4; quads > 0; quads--, w += 4 * INT8_COLS, codes += 4) {
      u32v weights[INT8_VECTORS];
#pragma GCC unroll 4
      for (int v = 0; v < INT8_VECTORS; v++) weights[v] = loadAs<u32v>(w + v * LANES * 4);
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
        u32v values = int8Splat(codes + r * x.stride);
#pragma GCC unroll 4
        for (int v = 0; v < INT8_VECTORS; v++) sums[r][v] = int8Dot<isInt8>(sums[r][v], weights[v], values);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < INT8_VECTORS; v++) {
      f32v scale = load(panel.scale + p * INT8_COLS + v * LANES), shift = load(panel.shift + p * INT8_COLS + v * LANES);
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
        totals[r][v] = int8Combine<isInt8>(totals[r][v], sums[r][v], x.scale[p][r], x.sum[p][r], scale, shift);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < INT8_VECTORS; v++) storeUpTo(y + r * yStride + v * LANES, totals[r][v], cols - v * LANES);
  }
}

/* int8Tile with the number of rows as a constant. */
template <bool isInt8, int rows, class... Args> INLINE void int8Rows(const Int8Panel& panel, const Int8Block& x, Args... args) {
  if (x.rows == rows) return int8Tile<isInt8, rows>(panel, x, args...);
  if constexpr (rows > 1) int8Rows<isInt8, rows - 1>(panel, x, args...);
}

/* The panel of rows n .. n + INT8_COLS - 1 and of depth columns from k on. */
template <int qtype>
static void int8Fill(Int8Panel& panel, const TiledWeights& w, const ByteRows& x, int32_t n, int32_t k, int32_t depth, int32_t N) {
  using Run = TileRun<qtype>;
  panel.count = 0;
  for (int32_t i = 0; i < depth; panel.count++) {
    int32_t group = (k + i) / x.groupSize, last = groupEnd(group, x.groupSize, w.K), end = last - k < depth ? last - k : depth;
    panel.parts[panel.count] = {i, end, group, k + i == group * x.groupSize && k + end == last};
    i = end;
  }
  for (int v = 0; v < INT8_VECTORS; v++) {
    int32_t row = n + v * LANES;
    /* Lanes without a row of w are never stored, but must be readable. */
    if (row / 16 * 16 >= N) row = n;
    for (int32_t i = 0; i < depth; i += Run::columns) {
      const uint8_t* run = tileRun<qtype>(w, row, k + i);
#pragma GCC unroll 8
      for (int j = 0; j < int8Quads<qtype>; j++) {
        storeAs(panel.codes + (size_t)(i + 4 * j) * INT8_COLS + v * LANES * 4, int8Quad<qtype>(run, j, 64));
      }
    }
    for (int32_t p = 0; p < panel.count; p++) {
      int32_t group = (k + panel.parts[p].start) / w.groupSize;
      store(panel.scale + p * INT8_COLS + v * LANES, tileFactors(w.scale, w, row, group));
      store(panel.shift + p * INT8_COLS + v * LANES, tileFactors(w.shift, w, row, group));
    }
  }
}

template <int qtype>
static void int8ManyRows(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t M, int32_t N) {
  int32_t panels = (N + INT8_COLS - 1) / INT8_COLS, rowBlocks = (M + INT8_TASK_ROWS - 1) / INT8_TASK_ROWS;
  parallelFor(rowBlocks * panels, [&](int32_t task) {
    static thread_local Int8Panel panel;
    int32_t first = task / panels * INT8_TASK_ROWS, last = M - first < INT8_TASK_ROWS ? M : first + INT8_TASK_ROWS;
    int32_t n = task % panels * INT8_COLS;
    for (int32_t k = 0; k < w.K; k += INT8_DEPTH) {
      int8Fill<qtype>(panel, w, x, n, k, w.K - k < INT8_DEPTH ? w.K - k : INT8_DEPTH, N);
      for (int32_t m = first; m < last; m += INT8_ROWS) {
        float* to = y + (size_t)m * N + n;
        const float* start = k > 0 ? to : bias ? bias + n : nullptr;
        Int8Block block;
        int8Gather(block, panel, x, m, k, last - m < INT8_ROWS ? last - m : INT8_ROWS);
        int8Rows<qtype == QINT8, INT8_ROWS>(panel, block, start, k > 0 ? N : 0, to, N, N - n);
      }
    }
  });
}

template <int qtype>
static void qmatmulInt8Of(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t M, int32_t N) {
  if (M == 1) return int8OneRow<qtype>(w, x, bias, y, N);
  int8ManyRows<qtype>(w, x, bias, y, M, N);
}

void qmatmulInt8(const uint8_t* x, const float* xScale, const float* xSum, int32_t xGroupSize, const uint8_t* codes, int32_t qtype,
                 const void* scale, const void* shift, int32_t scaleDtype, const float* bias, float* y, int32_t M, int32_t N, int32_t K,
                 int32_t groupSize) {
  const TiledWeights w = tiledWeights(codes, scale, shift, scaleDtype, K, groupSize);
  const ByteRows rows = {x, xScale, xSum, ((size_t)K + 63) / 64 * 64, xGroupSize, (int32_t)(((int64_t)K + xGroupSize - 1) / xGroupSize)};
  switch (qtype) {
    case QINT2: return qmatmulInt8Of<QINT2>(w, rows, bias, y, M, N);
    case QINT4: return qmatmulInt8Of<QINT4>(w, rows, bias, y, M, N);
    case QINT5: return qmatmulInt8Of<QINT5>(w, rows, bias, y, M, N);
    case QINT8: return qmatmulInt8Of<QINT8>(w, rows, bias, y, M, N);
  }
}

}  // namespace LOWBIT_ISA
