#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * The multiplication that products, convolutions and attention share:
 *
 *     y [rows, cols] = start + A [rows, depth] · panel [depth, cols]
 *
 * A panel is a slice of the right factor, brought into scratch (transposed, dequantized, gathered from an
 * image) once and then used for many rows of A: its columns lie in lanes, values of A are broadcast, and a
 * tile of TILE_ROWS × 2 vectors of y stays in registers while depth runs. Source: Goto, van de Geijn,
 * "Anatomy of high-performance matrix multiplication", 2008.
 */

/*
 * Registers: TILE_ROWS × 2 sums, 2 vectors of the panel, 1 broadcast. AVX-512 and NEON have 32, the others
 * 16.
 */
#if LANES == 16 || defined(__ARM_NEON)
constexpr int TILE_ROWS = 12;
#else
constexpr int TILE_ROWS = 6;
#endif
constexpr int TILE_COLS = 2 * LANES;
/* Columns of a panel, whole tiles. */
constexpr int PANEL_COLS = LANES == 16 ? 64 : 32;
/*
 * Columns of A, and rows of the panel: sums of so many are short enough that their rounding does not grow
 * with K.
 */
constexpr int PANEL_DEPTH = 256;
/*
 * Rows of A in a block: PANEL_DEPTH columns of them stay in the second-level cache from panel to panel, half
 * a megabyte; a thread of WebAssembly has as much for all its variables. A prompt of 512 tokens is one block,
 * so that a panel is made once for all of it.
 */
#ifdef __wasm__
constexpr int BLOCK_ROWS = 192;
#else
constexpr int BLOCK_ROWS = 516;
#endif
/*
 * Rows of a matrix are read in pieces as wide as a panel is deep, too short for the processor to see what
 * comes next: they are asked for so many rows ahead.
 */
constexpr int ROWS_AHEAD = 16;
/* Odd in cache lines, so that the rows of a tile of A do not fall into one set. */
constexpr int TILE_STRIDE = PANEL_DEPTH + 16;

/* One per thread. */
struct Blocks {
  alignas(64) float rows[BLOCK_ROWS * TILE_STRIDE];
  /* What is written in whole vectors may pass the end of a row, and of the last one. */
  alignas(64) float panel[PANEL_DEPTH * PANEL_COLS + LANES];
};

/* What the places of A and of a panel hold, and sums + one of A · those of LANES columns. */
struct Floats {
  static constexpr int columns = 1;
  INLINE f32v value(const float* a) { return splat(*a); }
  INLINE f32v add(f32v sums, f32v a, f32v w) { return fma(a, w, sums); }
};
#if LANES == 16
/* Two numbers in bfloat16, which are two columns of A; depths count pairs. */
struct Pairs {
  static constexpr int columns = 2;
  INLINE f32v value(const float* a) { return (f32v)splat(loadAs<uint32_t>(a)); }
  INLINE f32v add(f32v sums, f32v a, f32v w) { return _mm512_dpbf16_ps(sums, (__m512bh)a, (__m512bh)w); }
};
#endif

/*
 * One tile, whose place in y is brought near while its sums are made: y [rows, cols <= TILE_COLS] = start +
 * x [rows, depth] · panel; x has rowStep between rows and depthStep between columns. No start is zero.
 */
template <class Factors, int rows, int rowStep, int depthStep>
static void multiplyTile(const float* x, const float* panel, size_t panelStride, int32_t depth,
                         const float* start, size_t startStride, float* y, size_t yStride, int32_t cols) {
  f32v sums[rows][2] = {};
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < TILE_COLS; c += 16) __builtin_prefetch(y + r * yStride + c, 1);
  for (int32_t k = 0; k < depth; k++) {
    f32v w0 = load(panel + k * panelStride), w1 = load(panel + k * panelStride + LANES);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
      f32v value = Factors::value(x + r * rowStep + k * depthStep);
      sums[r][0] = Factors::add(sums[r][0], value, w0);
      opaque(sums[r][0]);
      sums[r][1] = Factors::add(sums[r][1], value, w1);
      opaque(sums[r][1]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
    /* Added last: a long sum is one of stretches. */
    if (start) sums[r][0] = loadUpTo(start + r * startStride, cols) + sums[r][0];
    if (start) sums[r][1] = loadUpTo(start + r * startStride + LANES, cols - LANES) + sums[r][1];
    storeUpTo(y + r * yStride, sums[r][0], cols);
    storeUpTo(y + r * yStride + LANES, sums[r][1], cols - LANES);
  }
}

/* multiplyTile with the number of rows as a constant. */
template <class Factors, int rows, int rowStep, int depthStep, class... Args>
INLINE void multiplyRows(int32_t count, Args... args) {
  if (count == rows) return multiplyTile<Factors, rows, rowStep, depthStep>(args...);
  if constexpr (rows > 1) multiplyRows<Factors, rows - 1, rowStep, depthStep>(count, args...);
}

/* to [rows, depth] = x, with TILE_STRIDE between rows; whole vectors are written. */
static void copyRows(const float* x, size_t xStride, int32_t rows, int32_t depth, float* to) {
  for (int32_t r = 0; r < rows; r++) {
    const float* row = x + r * xStride;
    for (int32_t k = 0; k < depth; k += LANES) {
      if (k % 16 == 0) __builtin_prefetch(row + ROWS_AHEAD * xStride + k);
      store(to + r * TILE_STRIDE + k, loadUpTo(row + k, depth - k));
    }
  }
}

/*
 * y [M, cols] = start + block [M, depth] · panel [depth, cols], depth <= PANEL_DEPTH. The block has rowStep
 * between rows and depthStep between columns; start may be y itself, one row (startStride 0) or absent; the
 * panel is readable up to a multiple of TILE_COLS columns.
 */
template <int rowStep = TILE_STRIDE, int depthStep = 1, class Factors = Floats>
OUTLINE void multiplyBlock(const float* block, int32_t M, const float* panel, size_t panelStride,
                                 int32_t depth, const float* start, size_t startStride, float* y,
                                 size_t yStride, int32_t cols) {
  /* Tiles of about one height: a low one takes as long as one of twice as many rows. */
  for (int32_t m = 0, rows = 0, tiles = ceilDivide(M, TILE_ROWS); m < M; m += rows, tiles--) {
    rows = ceilDivide(M - m, tiles);
    for (int32_t c = 0; c < cols; c += TILE_COLS) {
      const float* tileStart = start ? start + m * startStride + c : nullptr;
      multiplyRows<Factors, TILE_ROWS, rowStep, depthStep>(rows, block + m * rowStep, panel + c, panelStride, depth,
                                                  tileStart, startStride, y + m * yStride + c, yStride,
                                                  cols - c);
    }
  }
}

/* TILE_ROWS rows of A, one per thread. */
struct PanelTile {
  alignas(64) float rows[TILE_ROWS * TILE_STRIDE];
};

/*
 * y [M, cols] = start + x [M, depth] · panel [depth, cols], depth <= PANEL_DEPTH, for one panel only.
 * start [M, cols] may be y itself, one row (startStride 0) or absent; the panel is readable up to a multiple
 * of TILE_COLS columns.
 */
static inline void multiplyPanel(const float* x, size_t xStride, int32_t M, const float* panel,
                                 size_t panelStride, int32_t depth, const float* start, size_t startStride,
                                 float* y, size_t yStride, int32_t cols) {
  float* tile = scratchHere<PanelTile>().rows;
  for (int32_t m = 0; m < M; m += TILE_ROWS) {
    int32_t rows = M - m < TILE_ROWS ? M - m : TILE_ROWS;
    copyRows(x + m * xStride, xStride, rows, depth, tile);
    multiplyBlock(tile, rows, panel, panelStride, depth, start ? start + m * startStride : nullptr,
                  startStride, y + m * yStride, yStride, cols);
  }
}

/*
 * `batch` products A [M, K] · B [K, N], split over rows, columns and batch:
 *
 *     packRows(b, m, rows, k, depth, to)    writes A[m + r, k + i] to to[r · TILE_STRIDE + i]
 *     packCols(b, n, cols, k, depth, to)    writes B[k + i, n + c] to to[i · PANEL_COLS + c]; other columns may hold anything
 *     place(b, m, rows, n, cols, k, multiply)   calls multiply(start, startStride, y, yStride) for y [rows, cols] at [m, n], where start
 *                                           is what is summed already: for k = 0 a bias or nothing, else y
 */
template <class Factors = Floats, class PackRows, class PackCols, class Place>
static void multiplyBlocks(int32_t batch, int32_t M, int32_t N, int32_t K, const PackRows& packRows,
                           const PackCols& packCols, const Place& place) {
  if (batch == 0 || M == 0 || N == 0) return;
  /*
   * A million multiplications take some 20 microseconds; several tasks a thread, so that a late one does not
   * hold up the others.
   */
  double most = (double)batch * M * N * K / 1e6 + 1;
  int32_t threads = threadCount(), wanted = threads == 1         ? 1
                                            : most < 4 * threads ? (int32_t)most
                                                                 : 4 * threads;
  int32_t panels = ceilDivide(N, PANEL_COLS), rowBlocks = ceilDivide(M, BLOCK_ROWS);
  int32_t panelsPerTask = ceilDivide(panels, ceilDivide(wanted, (int64_t)batch * rowBlocks));
  int32_t colBlocks = ceilDivide(panels, panelsPerTask);
  if ((int64_t)batch * rowBlocks * colBlocks < wanted)
    rowBlocks = ceilDivide(wanted, (int64_t)batch * colBlocks);
  int32_t blockRows = ceilDivide(ceilDivide(M, rowBlocks), TILE_ROWS) * TILE_ROWS;
  rowBlocks = ceilDivide(M, blockRows);
  int64_t blocks = (int64_t)batch * rowBlocks * colBlocks,
          perTask = ceilDivide(blocks, wanted > 1 ? 4 * wanted : 1);
  parallelFor(ceilDivide(blocks, perTask), [&](int32_t task) {
    Blocks& scratch = scratchHere<Blocks>();
    for (int64_t i = task * perTask; i < (task + 1) * perTask && i < blocks; i++) {
      int32_t b = (int32_t)(i / (rowBlocks * colBlocks)),
              m = (int32_t)(i / colBlocks % rowBlocks) * blockRows;
      int32_t rows = M - m < blockRows ? M - m : blockRows;
      int32_t first = (int32_t)(i % colBlocks) * panelsPerTask * PANEL_COLS,
              last = first + panelsPerTask * PANEL_COLS;
      for (int32_t k = 0; k == 0 || k < K; k += PANEL_DEPTH) {
        int32_t depth = K - k < PANEL_DEPTH ? K - k : PANEL_DEPTH;
        packRows(b, m, rows, k, depth, scratch.rows);
        for (int32_t n = first; n < last && n < N; n += PANEL_COLS) {
          int32_t cols = N - n < PANEL_COLS ? N - n : PANEL_COLS;
          packCols(b, n, cols, k, depth, scratch.panel);
          place(b, m, rows, n, cols, k,
                [&](const float* start, size_t startStride, float* y, size_t yStride) {
                  multiplyBlock<TILE_STRIDE, 1, Factors>(scratch.rows, rows, scratch.panel, PANEL_COLS, depth,
                                                         start, startStride, y, yStride, cols);
                });
        }
      }
    }
  });
}

typedef float f32x4 __attribute__((vector_size(16)));

/* Four rows of four columns become four columns. */
INLINE void transpose4x4(f32x4 row[4]) {
  f32x4 a = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5),
        b = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  f32x4 c = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7),
        d = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  row[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  row[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  row[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  row[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

/*
 * to[i · toStride + r] = from[r, i] for r < rows, i < depth; from has rowStride values between rows of the
 * given float dtype.
 */
template <int dtype>
static void transposeRows(const void* from, size_t offset, size_t rowStride, int32_t rows, int32_t depth,
                          float* to, size_t toStride) {
  int32_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    size_t row = offset + r * rowStride;
    int32_t i = 0;
    auto block = [&](f32x4* lines, int32_t i) {
      transpose4x4(lines);
      for (int j = 0; j < 4; j++) storeAs(to + (i + j) * toStride + r, lines[j]);
    };
    for (; i + LANES <= depth; i += LANES) {
      f32v lines[4];
      for (int j = 0; j < 4; j++) {
        size_t at = row + j * rowStride + i;
        lines[j] = loadFloat<dtype>(from, at);
        if (i % 16 == 0) __builtin_prefetch((const char*)from + (at + ROWS_AHEAD * rowStride) * bytesOf(dtype));
      }
#pragma GCC unroll 4
      for (int part = 0; part < LANES / 4; part++) {
        f32x4 parts[4];
        for (int j = 0; j < 4; j++) __builtin_memcpy(&parts[j], (const char*)&lines[j] + part * 16, 16);
        block(parts, i + part * 4);
      }
    }
    for (; dtype == FLOAT32 && i + 4 <= depth; i += 4) {
      f32x4 parts[4];
      for (int j = 0; j < 4; j++) parts[j] = loadAs<f32x4>((const float*)from + row + j * rowStride + i);
      block(parts, i);
    }
    for (; i < depth; i++) {
      for (int j = 0; j < 4; j++) to[i * toStride + r + j] = readFloat(from, dtype, row + j * rowStride + i);
    }
  }
  for (; r < rows; r++) {
    for (int32_t i = 0; i < depth; i++)
      to[i * toStride + r] = readFloat(from, dtype, offset + r * rowStride + i);
  }
}

/*
 * to[r · toStride + i] = from[i · fromStride + r] for r < rows, i < depth; rows of from are readable up to a
 * multiple of 4.
 */
static inline void transposeBack(const float* from, size_t fromStride, int32_t rows, int32_t depth, float* to,
                                 size_t toStride) {
  for (int32_t r = 0; r < rows; r += 4, to += 4 * toStride) {
    int32_t count = rows - r < 4 ? rows - r : 4, i = 0;
    for (; i + 4 <= depth; i += 4) {
      f32x4 parts[4];
      for (int j = 0; j < 4; j++) parts[j] = loadAs<f32x4>(from + (i + j) * fromStride + r);
      transpose4x4(parts);
      for (int j = 0; j < count; j++) storeAs(to + j * toStride + i, parts[j]);
    }
    for (; i < depth; i++) {
      for (int j = 0; j < count; j++) to[j * toStride + i] = from[i * fromStride + r + j];
    }
  }
}

}  // namespace LOWBIT_ISA
