#include "simd.h"

namespace LOWBIT_ISA {

/* Columns lie in lanes. Summed in stretches, so that rounding does not grow with the number of rows. */
static void columnSumLanes(const float* x, float* y, int32_t rows, int32_t cols, int32_t first,
                           int32_t last) {
  for (int32_t c = first; c < last; c += LANES) {
    f32v total = {};
    for (int32_t r = 0; r < rows;) {
      f32v sums = {};
      for (int32_t end = rows - r > 256 ? r + 256 : rows; r < end; r++)
        sums += loadUpTo(x + (size_t)r * cols + c, last - c);
      total += sums;
    }
    storeUpTo(y + c, total, last - c);
  }
}

/* One column: rows runs of inner values, stride apart. */
static float columnSumRuns(const float* x, size_t stride, int32_t rows, int32_t inner) {
  double total = 0;
  for (int32_t r = 0; r < rows; r++, x += stride) {
    for (int32_t i = 0; i < inner;) {
      f32v sums = {};
      for (int32_t end = inner - i > 64 * LANES ? i + 64 * LANES : inner; i < end; i += LANES)
        sums += loadUpTo(x + i, end - i);
      total += sum(sums);
    }
  }
  return (float)total;
}

void columnSum(const float* x, float* y, int32_t rows, int32_t cols, int32_t inner) {
  /* Some 20 microseconds of reading. */
  double perTask = 50000.0 / ((double)rows * inner + 1) + 1;
  int32_t step = perTask < cols ? ((int32_t)perTask + LANES - 1) / LANES * LANES : cols;
  if (cols == 0) return;
  parallelFor((cols + step - 1) / step, [=](int32_t task) {
    int32_t first = task * step, last = cols - first < step ? cols : first + step;
    if (inner == 1) return columnSumLanes(x, y, rows, cols, first, last);
    for (int32_t c = first; c < last; c++)
      y[c] = columnSumRuns(x + (size_t)c * inner, (size_t)cols * inner, rows, inner);
  });
}

}  // namespace LOWBIT_ISA
