#include "../quantize/codes.h"

namespace LOWBIT_ISA {

void fakeQuantizeGrad(const float* x, const float* scale, const int32_t* zeroPoint, const float* dy,
                      float* dx, float* dscale, int32_t rows, int32_t cols, int32_t scaleStride, int32_t qmin,
                      int32_t qmax) {
  eachRow(rows, cols, [&](int32_t r) {
    size_t start = (size_t)r * cols, at = (size_t)r * scaleStride;
    Units<FLOAT32> row(scale, nullptr, at, false);
    int32_t z = zeroPoint ? zeroPoint[at] : 0;
    const CodeRange<false> range(QINT8, qmin - z, qmax - z);
    WideSum sum;
    for (int32_t c = 0; c < cols; c += LANES) {
      f32v units = row.of(loadUpTo(x + start + c, cols - c)), codes = roundHalfEven(units),
           clamped = range.nearest(units);
      f32v gradient = loadUpTo(dy + start + c, cols - c);
      i32v inside = codes == clamped;
      f32v term = gradient * select(inside, codes - units, clamped);
      /* Behind the end there may be NaN, of a scale that is none. */
      for (int32_t i = cols - c; i < LANES; i++) term[i] = 0;
      sum.add(term);
      storeUpTo(dx + start + c, select(inside, gradient, f32v{}), cols - c);
    }
    dscale[r] = (float)sum.total();
  });
}

}  // namespace LOWBIT_ISA
