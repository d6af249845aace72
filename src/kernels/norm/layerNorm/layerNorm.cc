#include "../layerNorm/rowMoments.h"
#include "simd.h"

namespace LOWBIT_ISA {

void layerNorm(const float* x, const float* weight, const float* bias, float epsilon, float* y, int32_t rows,
               int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    const float* xRow = x + (size_t)r * cols;
    float* yRow = y + (size_t)r * cols;
    RowMoments row = rowMoments(xRow, cols, epsilon, true);
    for (int32_t c = 0; c < cols; c += LANES) {
      f32v v = (loadUpTo(xRow + c, cols - c) - row.mean) * row.inverse;
      if (weight) v = v * loadUpTo(weight + c, cols - c);
      if (bias) v = v + loadUpTo(bias + c, cols - c);
      storeUpTo(yRow + c, v, cols - c);
    }
  });
}

}  // namespace LOWBIT_ISA
