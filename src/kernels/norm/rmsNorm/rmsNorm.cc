#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void rmsNorm(const float* x, const void* weight, int32_t weightDtype, float epsilon, float* y, int32_t rows,
             int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    const float* xRow = x + (size_t)r * cols;
    float* yRow = y + (size_t)r * cols;
    float rms = (float)__builtin_sqrt(rowSum(xRow, cols, [](auto v) { return v * v; }) / cols + epsilon);
    int32_t c = 0;
    withWeightFloat(weightDtype, [&](auto type) {
      for (; c <= cols - LANES; c += LANES)
        store(yRow + c, load(xRow + c) / rms * loadFloat<decltype(type)::value>(weight, c));
    });
    for (; c < cols; c++) yRow[c] = xRow[c] / rms * readFloat(weight, weightDtype, c);
  });
}

}  // namespace LOWBIT_ISA
