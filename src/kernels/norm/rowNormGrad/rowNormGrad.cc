#include "../layerNorm/rowMoments.h"
#include "simd.h"

namespace LOWBIT_ISA {

constexpr int32_t rowsPerPartial = 16;

/* One row: its dx, and its share of the sums. */
static void rowNormGradRow(bool centered, const float* x, const float* weight, float epsilon, const float* dy,
                           float* dx, float* dweight, float* dbias, int32_t cols) {
  RowMoments row = rowMoments(x, cols, epsilon, centered);
  auto g = [&](int32_t c) {
    f32v gradient = loadUpTo(dy + c, cols - c);
    return weight ? gradient * loadUpTo(weight + c, cols - c) : gradient;
  };
  WideSum sumG, sumGx;
  for (int32_t c = 0; c < cols; c += LANES) {
    f32v gradient = g(c);
    sumG.add(gradient);
    /* Behind the end g is 0. */
    sumGx.add(gradient * ((loadUpTo(x + c, cols - c) - row.mean) * row.inverse));
  }
  float meanG = centered ? (float)(sumG.total() / cols) : 0;
  float meanGx = (float)(sumGx.total() / cols);
  for (int32_t c = 0; c < cols; c += LANES) {
    f32v gradient = loadUpTo(dy + c, cols - c);
    f32v normal = (loadUpTo(x + c, cols - c) - row.mean) * row.inverse;
    storeUpTo(dweight + c, loadUpTo(dweight + c, cols - c) + gradient * normal, cols - c);
    storeUpTo(dbias + c, loadUpTo(dbias + c, cols - c) + gradient, cols - c);
    storeUpTo(dx + c, row.inverse * (g(c) - meanG - normal * meanGx), cols - c);
  }
}

void rowNormGrad(int32_t centered, const float* x, const float* weight, float epsilon, const float* dy,
                 float* dx, float* partial, int32_t rows, int32_t cols) {
  int32_t blocks = (rows + rowsPerPartial - 1) / rowsPerPartial;
  eachRow(blocks, rowsPerPartial * cols, [&](int32_t block) {
    float* sums = partial + (size_t)block * 2 * cols;
    __builtin_memset(sums, 0, (size_t)2 * cols * sizeof(float));
    int32_t last = rows - block * rowsPerPartial < rowsPerPartial ? rows : (block + 1) * rowsPerPartial;
    for (int32_t r = block * rowsPerPartial; r < last; r++) {
      size_t at = (size_t)r * cols;
      rowNormGradRow(centered, x + at, weight, epsilon, dy + at, dx + at, sums, sums + cols, cols);
    }
  });
}

}  // namespace LOWBIT_ISA
