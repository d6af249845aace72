#pragma once
#include "transpose.h"

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
/*
 * Columns of a panel, whole tiles. One tile on AVX2: so much stays in the first-level cache of 32 KB while
 * the rows of a block pass by.
 */
constexpr int PANEL_COLS = LANES == 16 ? 64 : LANES == 8 ? 16 : 32;
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
/* Odd in cache lines, so that the rows of a tile of A do not fall into one set. */
constexpr int TILE_STRIDE = PANEL_DEPTH + 16;
/*
 * How the rows of a block lie: TILE_STRIDE apart; on AVX2 those of a tile side by side, column by column, so
 * that the tile is read from front to back as one run. Six runs are so short there that much of each is read
 * before the processor asks for it ahead.
 */
constexpr bool INTERLEAVED = LANES == 8;
constexpr int ROW_STEP = INTERLEAVED ? 1 : TILE_STRIDE, DEPTH_STEP = INTERLEAVED ? TILE_ROWS : 1;
/* What a tile of so many rows and columns takes of a block. */
INLINE int32_t tileSize(int32_t rows, int32_t depth) {
  return INTERLEAVED ? TILE_ROWS * depth : rows * TILE_STRIDE;
}

/*
 * Rows of the first tile of so many: all are of about one height, since a low one takes as long as one of
 * twice as many rows.
 */
INLINE int32_t tileRows(int32_t rows) { return ceilDivide(rows, ceilDivide(rows, TILE_ROWS)); }

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

/* y [rows, cols <= TILE_COLS] = start + sums [rows, TILE_COLS]. */
OUTLINE void placeSums(const float* sums, int32_t rows, const float* start, size_t startStride, float* y,
                       size_t yStride, int32_t cols) {
  for (int32_t r = 0; r < rows; r++, sums += TILE_COLS, y += yStride) {
    for (int32_t c = 0; c < cols; c += LANES) {
      f32v sum = load(sums + c);
      if (start) sum = loadUpTo(start + r * startStride + c, cols - c) + sum;
      storeUpTo(y + c, sum, cols - c);
    }
  }
}

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
#if LANES == 8
#pragma GCC unroll 4
#endif
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
  if (LANES < 16 && cols < TILE_COLS) {
    float part[rows][TILE_COLS];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) store(part[r], sums[r][0]), store(part[r] + LANES, sums[r][1]);
    return placeSums(part[0], rows, start, startStride, y, yStride, cols);
  }
  if (LANES < 16) cols = TILE_COLS;
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

#if LANES == 8
/* to [LANES, TILE_ROWS] = the transpose of so many columns of a tile, given row by row. */
INLINE void interleaveColumns(const f32v (&row)[TILE_ROWS], float* to) {
  /* Two neighbours of one column are one number; in each half of a vector lie four columns. */
  __m256d low[3], high[3];
#pragma GCC unroll 3
  for (int i = 0; i < 3; i++) {
    const __m256 a = row[2 * i], b = row[2 * i + 1];
    low[i] = (__m256d)_mm256_unpacklo_ps(a, b), high[i] = (__m256d)_mm256_unpackhi_ps(a, b);
  }
  const auto two = [](float* to, const __m256d (&pairs)[3]) {
    const __m256d parts[3] = {_mm256_unpacklo_pd(pairs[0], pairs[1]),
                              _mm256_shuffle_pd(pairs[2], pairs[0], 10),
                              _mm256_unpackhi_pd(pairs[1], pairs[2])};
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
      storeAs(to + 4 * i, _mm256_castpd256_pd128(parts[i]));
      storeAs(to + 4 * TILE_ROWS + 4 * i, _mm256_extractf128_pd(parts[i], 1));
    }
  };
  two(to, low), two(to + 2 * TILE_ROWS, high);
}

/*
 * to [depth, TILE_ROWS] = the transpose of x [rows <= TILE_ROWS, depth]; behind the last row is that one
 * again.
 */
static void interleaveTile(const float* x, size_t xStride, int32_t rows, int32_t depth, float* to) {
  const float* row[TILE_ROWS];
  for (int r = 0; r < TILE_ROWS; r++) row[r] = x + (r < rows ? r : rows - 1) * xStride;
  int32_t k = 0;
  for (; k + LANES <= depth; k += LANES, to += LANES * TILE_ROWS) {
    f32v columns[TILE_ROWS];
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++) columns[r] = load(row[r] + k);
    if (k % 16 == 0)
      for (int r = 0; r < TILE_ROWS; r++) __builtin_prefetch(row[r] + ROWS_AHEAD * xStride + k);
    interleaveColumns(columns, to);
  }
  for (; k < depth; k++, to += TILE_ROWS)
    for (int r = 0; r < TILE_ROWS; r++) to[r] = row[r][k];
}
#endif

/* tile(r, count, to) for each tile of a block of so many rows: it has `count` of them, from r on. */
template <class Tile> INLINE void eachBlockTile(int32_t rows, int32_t depth, float* to, const Tile& tile) {
  for (int32_t r = 0, count; r < rows; r += count, to += tileSize(count, depth)) {
    count = tileRows(rows - r);
    tile(r, count, to);
  }
}

/* The rows of a block from x [rows, depth], as they lie there; whole vectors are written. */
static void copyRows(const float* x, size_t xStride, int32_t rows, int32_t depth, float* to) {
#if LANES == 8
  eachBlockTile(rows, depth, to, [=](int32_t r, int32_t count, float* to) {
    interleaveTile(x + r * xStride, xStride, count, depth, to);
  });
#else
  for (int32_t r = 0; r < rows; r++) {
    const float* row = x + r * xStride;
    for (int32_t k = 0; k < depth; k += LANES) {
      if (k % 16 == 0) __builtin_prefetch(row + ROWS_AHEAD * xStride + k);
      store(to + r * TILE_STRIDE + k, loadUpTo(row + k, depth - k));
    }
  }
#endif
}

/*
 * Columns of a block [rows, depth], from `to` on, are the rows of x [count, rows], whose values lie xStep
 * apart.
 */
static void copyColumns(const float* x, size_t xStride, size_t xStep, int32_t rows, int32_t count,
                        int32_t depth, float* to) {
#if LANES == 8
  /* Some tiles at once: whole cache lines of a row of x. */
  constexpr int some = 8;
  for (int32_t r = 0; r < rows;) {
    int32_t counts[some], tiles = 0, last = r;
    for (; tiles < some && last < rows; tiles++) last += counts[tiles] = tileRows(rows - last);
    for (int32_t k = 0; k < count; k++) {
      const float* from = x + k * xStride + r * xStep;
      float* column = to + k * TILE_ROWS;
      for (int32_t t = 0; t < tiles; from += counts[t++] * xStep, column += tileSize(TILE_ROWS, depth)) {
        if (xStep == 1 && counts[t] == TILE_ROWS) {
          storeAs(column, loadAs<f32x4>(from)), storeAs(column + 4, loadAs<double>(from + 4));
        } else {
          for (int32_t i = 0; i < counts[t]; i++) column[i] = from[i * xStep];
        }
      }
    }
    r = last, to += tiles * tileSize(TILE_ROWS, depth);
  }
#else
  if (xStep == 1) return transposeRows<FLOAT32>(x, 0, xStride, count, rows, to, TILE_STRIDE);
  for (int32_t k = 0; k < count; k++, x += xStride) {
    for (int32_t r = 0; r < rows; r++) to[r * TILE_STRIDE + k] = x[r * xStep];
  }
#endif
}

/*
 * y [M, cols] = start + block [M, depth] · panel [depth, cols], depth <= PANEL_DEPTH. The block has rowStep
 * between rows and depthStep between columns, or is one that copyRows or another has made; start may be y
 * itself, one row (startStride 0) or absent; the panel is readable up to a multiple of TILE_COLS columns.
 */
template <int rowStep = ROW_STEP, int depthStep = DEPTH_STEP, class Factors = Floats>
OUTLINE void multiplyBlock(const float* block, int32_t M, const float* panel, size_t panelStride,
                                 int32_t depth, const float* start, size_t startStride, float* y,
                                 size_t yStride, int32_t cols) {
  constexpr bool apart = INTERLEAVED && rowStep == ROW_STEP && depthStep == DEPTH_STEP;
  for (int32_t m = 0, rows = 0; m < M; m += rows, block += apart ? tileSize(rows, depth) : rows * rowStep) {
    rows = tileRows(M - m);
    for (int32_t c = 0; c < cols; c += TILE_COLS) {
      const float* tileStart = start ? start + m * startStride + c : nullptr;
      multiplyRows<Factors, TILE_ROWS, rowStep, depthStep>(rows, block, panel + c, panelStride, depth,
                                                           tileStart, startStride, y + m * yStride + c,
                                                           yStride, cols - c);
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

/* Of so many, how many blocks of one size make at least `wanted` of `others` times as many. */
INLINE int32_t evenBlocks(int32_t count, int32_t wanted, int64_t others) {
  return ceilDivide(count, ceilDivide(count, ceilDivide(wanted, others)));
}

/*
 * `batch` products A [M, K] · B [K, N], split over rows, columns and batch:
 *
 *     packRows(b, m, rows, k, depth, to)    puts A[m + r, k + i] into a block, by copyRows or another
 *     packCols(b, n, cols, k, depth, to)    writes B[k + i, n + c] to to[i · PANEL_COLS + c]; other columns may
 *                                           hold anything
 *     place(b, m, rows, n, cols, k, multiply)
 *                                           calls multiply(start, startStride, y, yStride) for y [rows, cols]
 *                                           at [m, n], where start is what is summed already: for k = 0 a bias
 *                                           or nothing, else y
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
  const int32_t panels = ceilDivide(N, PANEL_COLS), tiles = ceilDivide(M, TILE_ROWS);
  /* Rows are packed once for each block of columns, columns once for each block of rows: as few as may be. */
  int32_t rowBlocks = 0, colBlocks = 0;
  double leastPacked = 0;
  for (int32_t r = ceilDivide(M, BLOCK_ROWS), last = 0; !last; r++) {
    last = r >= tiles || batch * (int64_t)r >= wanted;
    const int32_t c = evenBlocks(panels, wanted, batch * (int64_t)r);
    const double packed = (double)M * c + (double)N * r;
    const bool enough = last || batch * (int64_t)r * c >= wanted;
    if (!enough || (rowBlocks > 0 && packed >= leastPacked)) continue;
    rowBlocks = r, colBlocks = c, leastPacked = packed;
  }
  const int32_t panelsPerTask = ceilDivide(panels, colBlocks);
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
                  multiplyBlock<ROW_STEP, DEPTH_STEP, Factors>(scratch.rows, rows, scratch.panel, PANEL_COLS,
                                                               depth, start, startStride, y, yStride, cols);
                });
        }
      }
    }
  });
}

}  // namespace LOWBIT_ISA
