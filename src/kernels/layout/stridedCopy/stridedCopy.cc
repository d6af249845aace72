#include "simd.h"

namespace LOWBIT_ISA {

/* Rows of the last dimension copied side by side, so that a transposed one is read in whole cache lines. */
constexpr int32_t stridedRows = 16;

/* rows × cols values. */
template <class T>
static void stridedBlock(const T* x, T* y, int32_t rows, int32_t cols, size_t xRow, size_t xCol, size_t yRow,
                         size_t yCol) {
  if (yCol == 1 && xCol == 1) {
    for (int32_t r = 0; r < rows; r++) __builtin_memcpy(y + r * yRow, x + r * xRow, cols * sizeof(T));
  } else if (yCol == 1 && xCol == 0) {
    for (int32_t r = 0; r < rows; r++) {
      T value = x[r * xRow];
      for (int32_t c = 0; c < cols; c++) y[r * yRow + c] = value;
    }
  } else {
    for (int32_t c = 0; c < cols; c += stridedRows) {
      int32_t end = cols - c < stridedRows ? cols : c + stridedRows;
      for (int32_t r = 0; r < rows; r++)
        for (int32_t i = c; i < end; i++) y[r * yRow + i * yCol] = x[r * xRow + i * xCol];
    }
  }
}

template <class T>
static void stridedApply(const T* x, T* y, const int32_t* n, const int32_t* xStride, const int32_t* yStride) {
  int32_t blocks = (n[3] + stridedRows - 1) / stridedRows;
  int32_t total = n[0] * n[1] * n[2] * blocks;
  int32_t perTask = 16384 / ((n[3] < stridedRows ? n[3] : stridedRows) * n[4]) + 1;
  parallelFor((total + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t at = task * perTask; at < (task + 1) * perTask && at < total; at++) {
      int32_t row = at % blocks * stridedRows, rest = at / blocks;
      int32_t i2 = rest % n[2], i1 = rest / n[2] % n[1], i0 = rest / n[2] / n[1];
      auto offset = [&](const int32_t* stride) {
        return (size_t)i0 * stride[0] + (size_t)i1 * stride[1] + (size_t)i2 * stride[2] +
               (size_t)row * stride[3];
      };
      int32_t rows = n[3] - row < stridedRows ? n[3] - row : stridedRows;
      stridedBlock(x + offset(xStride), y + offset(yStride), rows, n[4], xStride[3], xStride[4], yStride[3],
                   yStride[4]);
    }
  });
}

void stridedCopy(const uint8_t* x, uint8_t* y, int32_t bytes, int32_t n0, int32_t n1, int32_t n2, int32_t n3,
                 int32_t n4, int32_t xOffset, int32_t x0, int32_t x1, int32_t x2, int32_t x3, int32_t x4,
                 int32_t yOffset, int32_t y0, int32_t y1, int32_t y2, int32_t y3, int32_t y4) {
  const int32_t n[] = {n0, n1, n2, n3, n4}, xStride[] = {x0, x1, x2, x3, x4},
                yStride[] = {y0, y1, y2, y3, y4};
  for (int32_t size : n) if (size <= 0) return;
  x += (size_t)xOffset * bytes;
  y += (size_t)yOffset * bytes;
  switch (bytes) {
    case 1: return stridedApply(x, y, n, xStride, yStride);
    case 2: return stridedApply((const uint16_t*)x, (uint16_t*)y, n, xStride, yStride);
    case 4: return stridedApply((const uint32_t*)x, (uint32_t*)y, n, xStride, yStride);
    case 8: return stridedApply((const uint64_t*)x, (uint64_t*)y, n, xStride, yStride);
    default: __builtin_trap();
  }
}

}  // namespace LOWBIT_ISA
