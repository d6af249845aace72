#include "../reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* Vectors whose squares are added in float32, before their sum is in float64. */
constexpr int32_t squaresPiece = 16 * LANES;

void squaredError(const void* x, const void* y, int32_t dtype, float* error, float* norm, int32_t rows,
                  int32_t cols) {
  withWeightFloat(dtype, [&](auto type) {
    constexpr int xType = decltype(type)::value;
    eachRow(rows, cols, [&](int32_t r) {
      size_t row = (size_t)r * cols;
      WideSum errors, norms;
      for (int32_t start = 0; start < cols; start += squaresPiece) {
        int32_t end = cols - start < squaresPiece ? cols : start + squaresPiece, c = start;
        f32v e = {}, n = {};
        auto add = [&](f32v from, f32v to) {
          e = fma(from - to, from - to, e);
          n = fma(from, from, n);
        };
        for (; c <= end - LANES; c += LANES) add(loadFloat<xType>(x, row + c), loadFloat<xType>(y, row + c));
        if (c < end)
          add(loadFloatPartial(x, dtype, row + c, end - c), loadFloatPartial(y, dtype, row + c, end - c));
        errors.add(e);
        norms.add(n);
      }
      error[r] = (float)errors.total();
      norm[r] = (float)norms.total();
    });
  });
}

}  // namespace LOWBIT_ISA
