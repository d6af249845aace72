#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void combineRows(const float* x, const int32_t* places, const float* weights, float* y, int32_t rows,
                 int32_t perRow, int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    const int32_t* from = places + (size_t)r * perRow;
    const float* by = weights + (size_t)r * perRow;
    float* to = y + (size_t)r * cols;
    for (int32_t c = 0; c < cols; c += LANES) {
      int32_t count = cols - c < LANES ? cols - c : LANES;
      f32v sum = {};
      for (int32_t i = 0; i < perRow; i++)
        sum = fma(loadUpTo(x + (size_t)from[i] * cols + c, count), f32v{} + by[i], sum);
      storeUpTo(to + c, sum, count);
    }
  });
}

}  // namespace LOWBIT_ISA
