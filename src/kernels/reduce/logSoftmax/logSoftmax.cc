#include "../reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void logSoftmax(const float* x, float* y, int32_t rows, int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    const float* xRow = x + (size_t)r * cols;
    float* yRow = y + (size_t)r * cols;
    float max = rowMax(xRow, cols);
    float logSum = (float)log(rowExpSum(xRow, cols, max, [](int32_t, int32_t, f32v) {}));
    for (int32_t c = 0; c < cols; c += LANES)
      storeUpTo(yRow + c, loadUpTo(xRow + c, cols - c) - max - logSum, cols - c);
  });
}

}  // namespace LOWBIT_ISA
