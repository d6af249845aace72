#include "../reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void softmax(const float* x, float* y, int32_t rows, int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    const float* xRow = x + (size_t)r * cols;
    float* yRow = y + (size_t)r * cols;
    double sum = rowExpSum(xRow, cols, rowMax(xRow, cols), [&](int32_t c, int32_t n, f32v e) {
      if (n == LANES) store(yRow + c, e);
      else storePartial(yRow + c, e, n);
    });
    float inverse = (float)(1.0 / sum);
    for (int32_t c = 0; c < cols; c++) yRow[c] *= inverse;
  });
}

}  // namespace LOWBIT_ISA
