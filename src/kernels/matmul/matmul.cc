#include "panel.h"

namespace LOWBIT_ISA {

/* Up to four rows of x against four rows of w, K in lanes: every weight is read once and nothing is transposed. */
template <int dtype, int rows, int cols>
static void matmulDots(const float* x, const void* w, const float* bias, float* y, int32_t n, int32_t N, int32_t K) {
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
        for (int r = 0; r < rows; r++) sums[r][c] = fma(loadPartial(x + (size_t)r * K + k, end - k), weights, sums[r][c]);
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
static void matmulFewRows(const float* x, const void* w, const float* bias, float* y, int32_t N, int32_t K) {
  /* Some 20 microseconds of reading at 10 GB/s. */
  int32_t colsPerTask = (int32_t)(200000 / ((int64_t)K * bytesOf(dtype)) / 4 + 1) * 4;
  parallelFor((N + colsPerTask - 1) / colsPerTask, [&](int32_t task) {
    int32_t n = task * colsPerTask, end = N - n < colsPerTask ? N : n + colsPerTask;
    for (; n + 4 <= end; n += 4) matmulDots<dtype, rows, 4>(x, w, bias, y, n, N, K);
    for (; n < end; n++) matmulDots<dtype, rows, 1>(x, w, bias, y, n, N, K);
  });
}

template <int dtype>
static void matmulOf(const float* x, const void* w, const float* bias, float* y, int32_t M, int32_t N, int32_t K) {
  switch (M) {
    case 0: return;
    case 1: return matmulFewRows<dtype, 1>(x, w, bias, y, N, K);
    case 2: return matmulFewRows<dtype, 2>(x, w, bias, y, N, K);
    case 3: return matmulFewRows<dtype, 3>(x, w, bias, y, N, K);
    case 4: return matmulFewRows<dtype, 4>(x, w, bias, y, N, K);
  }
  multiplyPanels(x, bias, y, M, N, K, [&](float* panel, int32_t n, int32_t k, int32_t depth) {
    int32_t rows = N - n < PANEL_COLS ? N - n : PANEL_COLS;
    transposeRows<dtype>(w, (size_t)n * K + k, K, rows, depth, panel, PANEL_COLS);
  });
}

void matmul(const float* x, const void* w, int32_t wDtype, const float* bias, float* y, int32_t M, int32_t N, int32_t K) {
  switch (wDtype) {
    case FLOAT32: return matmulOf<FLOAT32>(x, w, bias, y, M, N, K);
    case FLOAT16: return matmulOf<FLOAT16>(x, w, bias, y, M, N, K);
    case BFLOAT16: return matmulOf<BFLOAT16>(x, w, bias, y, M, N, K);
  }
}

}  // namespace LOWBIT_ISA
