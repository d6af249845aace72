#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * The multiplication that matmul, qmatmul and attention share:
 *
 *     y [M, cols] = start + x [M, depth] · panel [depth, cols]
 *
 * A panel is a slice of the weights, transposed (and dequantized) into scratch once and then used for every row of x: its columns lie in
 * lanes, x is broadcast, and a tile of TILE_ROWS × 2 vectors of y stays in registers while depth runs.
 */

/* Registers: TILE_ROWS × 2 sums, 2 vectors of the panel, 1 broadcast. AVX-512 and NEON have 32, the others 16. */
#if LANES == 16 || defined(__ARM_NEON)
constexpr int TILE_ROWS = 12;
#else
constexpr int TILE_ROWS = 6;
#endif
constexpr int TILE_COLS = 2 * LANES;
constexpr int PANEL_COLS = LANES == 16 ? 32 : 16;
/* Panel rows: 32 KiB of panel at most, and sums short enough that their rounding does not grow with K. */
constexpr int PANEL_DEPTH = 256;
/* Rows of x in one task: PANEL_DEPTH columns of them (384 KiB) stay in the second-level cache from panel to panel. */
constexpr int TASK_ROWS = 384;
/* Odd in cache lines, so that the rows of a tile of x do not fall into one set. */
constexpr int TILE_STRIDE = PANEL_DEPTH + 16;

/* One per thread. */
struct Panel {
  alignas(64) float values[PANEL_DEPTH * PANEL_COLS];
};

/* One tile: y [rows, cols <= TILE_COLS] = start + x [rows, depth] · panel; x has TILE_STRIDE between rows. No start is zero. */
template <int rows>
static void multiplyTile(const float* x, const float* panel, size_t panelStride, int32_t depth, const float* start, size_t startStride,
                         float* y, size_t yStride, int32_t cols) {
  f32v sums[rows][2];
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
    sums[r][0] = start ? loadUpTo(start + r * startStride, cols) : f32v{};
    sums[r][1] = start ? loadUpTo(start + r * startStride + LANES, cols - LANES) : f32v{};
  }
  for (int32_t k = 0; k < depth; k++) {
    f32v w0 = load(panel + k * panelStride), w1 = load(panel + k * panelStride + LANES);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
      f32v value = splat(x[r * TILE_STRIDE + k]);
      sums[r][0] = fma(value, w0, sums[r][0]);
      opaque(sums[r][0]);
      sums[r][1] = fma(value, w1, sums[r][1]);
      opaque(sums[r][1]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
    storeUpTo(y + r * yStride, sums[r][0], cols);
    storeUpTo(y + r * yStride + LANES, sums[r][1], cols - LANES);
  }
}

/* multiplyTile with the number of rows as a constant. */
template <int rows, class... Args> INLINE void multiplyRows(int32_t count, Args... args) {
  if (count == rows) return multiplyTile<rows>(args...);
  if constexpr (rows > 1) multiplyRows<rows - 1>(count, args...);
}

/*
 * y [M, cols] = start + x [M, depth] · panel [depth, cols], depth <= PANEL_DEPTH.
 * start [M, cols] may be y itself, one row (startStride 0) or absent; the panel is readable up to a multiple of TILE_COLS columns.
 */
static inline void multiplyPanel(const float* x, size_t xStride, int32_t M, const float* panel, size_t panelStride, int32_t depth,
                                 const float* start, size_t startStride, float* y, size_t yStride, int32_t cols) {
  alignas(64) static thread_local float tile[TILE_ROWS * TILE_STRIDE];
  for (int32_t m = 0; m < M; m += TILE_ROWS) {
    int32_t rows = M - m < TILE_ROWS ? M - m : TILE_ROWS;
    for (int32_t r = 0; r < rows; r++) {
      const float* from = x + (m + r) * xStride;
      for (int32_t k = 0; k < depth; k += LANES) store(tile + r * TILE_STRIDE + k, loadUpTo(from + k, depth - k));
    }
    for (int32_t c = 0; c < cols; c += TILE_COLS) {
      const float* tileStart = start ? start + m * startStride + c : nullptr;
      multiplyRows<TILE_ROWS>(rows, tile, panel + c, panelStride, depth, tileStart, startStride, y + m * yStride + c, yStride, cols - c);
    }
  }
}

/*
 * y [M, N] = x [M, K] · Wᵀ + bias [N], W given by fill(panel, n, k, depth): it writes W[n + c, k + i] to panel[i · PANEL_COLS + c] for
 * i < depth and the columns that exist (others may hold anything finite or not: they are never stored).
 */
template <class Fill>
static void multiplyPanels(const float* x, const float* bias, float* y, int32_t M, int32_t N, int32_t K, const Fill& fill) {
  int32_t panels = (N + PANEL_COLS - 1) / PANEL_COLS;
  int32_t rowBlocks = (M + TASK_ROWS - 1) / TASK_ROWS;
  int32_t blockRows = M < TASK_ROWS ? M : TASK_ROWS;
  /* A million multiplications take some 20 microseconds. */
  double perPanel = (double)blockRows * K * PANEL_COLS;
  int32_t panelsPerTask = perPanel >= 1e6 ? 1 : (int32_t)(1e6 / perPanel) + 1;
  int32_t colBlocks = (panels + panelsPerTask - 1) / panelsPerTask;
  parallelFor(rowBlocks * colBlocks, [&](int32_t task) {
    static thread_local Panel panel;
    int32_t m = task / colBlocks * TASK_ROWS, rows = M - m < TASK_ROWS ? M - m : TASK_ROWS;
    int32_t first = task % colBlocks * panelsPerTask * PANEL_COLS, last = first + panelsPerTask * PANEL_COLS;
    for (int32_t n = first; n < last && n < N; n += PANEL_COLS) {
      int32_t cols = N - n < PANEL_COLS ? N - n : PANEL_COLS;
      float* to = y + (size_t)m * N + n;
      for (int32_t k = 0; k < K; k += PANEL_DEPTH) {
        int32_t depth = K - k < PANEL_DEPTH ? K - k : PANEL_DEPTH;
        fill(panel.values, n, k, depth);
        const float* start = k > 0 ? to : bias ? bias + n : nullptr;
        multiplyPanel(x + (size_t)m * K + k, K, rows, panel.values, PANEL_COLS, depth, start, k > 0 ? N : 0, to, N, cols);
      }
    }
  });
}

typedef float f32x4 __attribute__((vector_size(16)));

/* Four rows of four columns become four columns: to[i · toStride + r] = row[r][i]. */
INLINE void transpose4x4(const f32x4 row[4], float* to, size_t toStride) {
  f32x4 a = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5), b = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  f32x4 c = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7), d = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  storeAs(to, __builtin_shufflevector(a, b, 0, 1, 4, 5));
  storeAs(to + toStride, __builtin_shufflevector(a, b, 2, 3, 6, 7));
  storeAs(to + 2 * toStride, __builtin_shufflevector(c, d, 0, 1, 4, 5));
  storeAs(to + 3 * toStride, __builtin_shufflevector(c, d, 2, 3, 6, 7));
}

/* to[i · toStride + r] = from[r, i] for r < rows, i < depth; from has rowStride values between rows of the given float dtype. */
template <int dtype>
static void transposeRows(const void* from, size_t offset, size_t rowStride, int32_t rows, int32_t depth, float* to, size_t toStride) {
  int32_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    size_t row = offset + r * rowStride;
    int32_t i = 0;
    for (; i + LANES <= depth; i += LANES) {
      f32v lines[4];
      for (int j = 0; j < 4; j++) lines[j] = loadFloat<dtype>(from, row + j * rowStride + i);
#pragma GCC unroll 4
      for (int part = 0; part < LANES / 4; part++) {
        f32x4 block[4];
        for (int j = 0; j < 4; j++) __builtin_memcpy(&block[j], (const char*)&lines[j] + part * 16, 16);
        transpose4x4(block, to + (i + part * 4) * toStride + r, toStride);
      }
    }
    for (; i < depth; i++) {
      for (int j = 0; j < 4; j++) to[i * toStride + r + j] = readFloat(from, dtype, row + j * rowStride + i);
    }
  }
  for (; r < rows; r++) {
    for (int32_t i = 0; i < depth; i++) to[i * toStride + r] = readFloat(from, dtype, offset + r * rowStride + i);
  }
}

}  // namespace LOWBIT_ISA
