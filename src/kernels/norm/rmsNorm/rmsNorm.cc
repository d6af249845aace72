#include "normalize.h"

namespace LOWBIT_ISA {

void rmsNorm(const float* x, const void* weight, int32_t weightDtype, float epsilon, float* y, int32_t rows,
             int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    const float* row = x + (size_t)r * cols;
    normalize(row, rowRms(row, cols, epsilon), weight, weightDtype, 0, cols, y + (size_t)r * cols);
  });
}

}  // namespace LOWBIT_ISA
