#include "panel.h"
#include "span.h"

namespace LOWBIT_ISA {

/*
 * Up to four rows of x against four rows of w, K in lanes: every weight is read once and nothing is
 * transposed.
 */
template <int dtype, int rows, int cols>
static void gemmDots(const float* x, const void* w, const float* bias, float* y, int32_t n, int32_t N,
                     int32_t K) {
  f32v sums[rows][cols] = {};
  /* Summed in stretches, so that rounding does not grow with K. */
  float totals[rows][cols];
  for (int r = 0; r < rows; r++) for (int c = 0; c < cols; c++) totals[r][c] = bias ? bias[n + c] : 0;
  for (int32_t k = 0; k < K;) {
    int32_t end = K - k > 64 * LANES ? k + 64 * LANES : K;
    for (; k + LANES <= end; k += LANES) {
      f32v values[rows];
      for (int r = 0; r < rows; r++) values[r] = load(x + (size_t)r * K + k);
      for (int c = 0; c < cols; c++) {
        f32v weights = loadFloat<dtype>(w, (size_t)(n + c) * K + k);
        for (int r = 0; r < rows; r++) sums[r][c] = fma(values[r], weights, sums[r][c]);
      }
    }
    if (k < end) {
      for (int c = 0; c < cols; c++) {
        f32v weights = loadFloatPartial(w, dtype, (size_t)(n + c) * K + k, end - k);
        for (int r = 0; r < rows; r++)
          sums[r][c] = fma(loadPartial(x + (size_t)r * K + k, end - k), weights, sums[r][c]);
      }
      k = end;
    }
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < cols; c++) {
        totals[r][c] += sum(sums[r][c]);
        sums[r][c] = f32v{};
      }
    }
  }
  for (int r = 0; r < rows; r++) for (int c = 0; c < cols; c++) y[(size_t)r * N + n + c] = totals[r][c];
}

template <int dtype, int rows>
static void gemmFewRows(const float* x, const void* w, const float* bias, float* y, int32_t N, int32_t K) {
  /* Some 20 microseconds of reading at 10 GB/s. */
  int32_t colsPerTask = (int32_t)(200000 / ((int64_t)K * bytesOf(dtype)) / 4 + 1) * 4;
  parallelFor((N + colsPerTask - 1) / colsPerTask, [&](int32_t task) {
    int32_t n = task * colsPerTask, end = N - n < colsPerTask ? N : n + colsPerTask;
    for (; n + 4 <= end; n += 4) gemmDots<dtype, rows, 4>(x, w, bias, y, n, N, K);
    for (; n < end; n++) gemmDots<dtype, rows, 1>(x, w, bias, y, n, N, K);
  });
}

/* One product by blocks, any of the factors transposed; `batch` of them at once. */
template <int dtype>
static void gemmBlocks(const float* a, const void* b, const float* bias, float* y, int32_t batch,
                       int32_t aBatch, int32_t bBatch, int32_t M, int32_t N, int32_t K, bool aTransposed,
                       bool bTransposed) {
  size_t matrix = (size_t)K * N;
  multiplyBlocks(
      batch, M, N, K,
      [=](int32_t i, int32_t m, int32_t rows, int32_t k, int32_t depth, float* to) {
        const float* from = a + (size_t)(i % aBatch) * M * K;
        if (aTransposed) copyColumns(from + (size_t)k * M + m, M, 1, rows, depth, depth, to);
        else copyRows(from + (size_t)m * K + k, K, rows, depth, to);
      },
      [=](int32_t i, int32_t n, int32_t cols, int32_t k, int32_t depth, float* to) {
        size_t from = i % bBatch * matrix;
        if (bTransposed)
          return transposeRows<dtype>(b, from + (size_t)n * K + k, K, cols, depth, to, PANEL_COLS);
        for (int32_t d = 0; d < depth; d++) {
          size_t row = from + (size_t)(k + d) * N + n;
          int32_t c = 0;
          for (; c + LANES <= cols; c += LANES) store(to + d * PANEL_COLS + c, loadFloat<dtype>(b, row + c));
          if (c < cols) store(to + d * PANEL_COLS + c, loadFloatPartial(b, dtype, row + c, cols - c));
        }
      },
      [=](int32_t i, int32_t m, int32_t, int32_t n, int32_t, int32_t k, auto multiply) {
        float* to = y + ((size_t)i * M + m) * N + n;
        multiply(k > 0 ? to : bias ? bias + n : nullptr, k > 0 ? N : 0, to, N);
      });
}

template <int dtype>
static void gemmOf(const float* a, const void* b, const float* bias, float* y, int32_t batch, int32_t aBatch,
                   int32_t bBatch, int32_t M, int32_t N, int32_t K, bool aTransposed, bool bTransposed) {
  if (batch == 1 && bTransposed && (!aTransposed || M == 1)) {
    switch (M) {
      case 1: return gemmFewRows<dtype, 1>(a, b, bias, y, N, K);
      case 2: return gemmFewRows<dtype, 2>(a, b, bias, y, N, K);
      case 3: return gemmFewRows<dtype, 3>(a, b, bias, y, N, K);
      case 4: return gemmFewRows<dtype, 4>(a, b, bias, y, N, K);
    }
  }
  gemmBlocks<dtype>(a, b, bias, y, batch, aBatch, bBatch, M, N, K, aTransposed, bTransposed);
}

void gemm(const float* a, const void* b, int32_t bDtype, const float* bias, float* y, int32_t batch,
          int32_t aBatch, int32_t bBatch, int32_t M, int32_t N, int32_t K, int32_t aTransposed,
          int32_t bTransposed, const int32_t* span) {
  const Span rows = spanOf(span, M);
  if (rows.count <= 0) return;
  a += (size_t)rows.first * K, y += (size_t)rows.first * N, M = rows.count;
  withWeightFloat(bDtype, [&](auto type) {
    gemmOf<decltype(type)::value>(a, b, bias, y, batch, aBatch, bBatch, M, N, K, aTransposed, bTransposed);
  });
}

}  // namespace LOWBIT_ISA
