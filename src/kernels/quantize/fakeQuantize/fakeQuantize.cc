#include "../../reduce/reduce/row.h"
#include "code.h"

namespace LOWBIT_ISA {

void fakeQuantize(const float* x, const float* scale, const int32_t* zeroPoint, float* y, int32_t rows, int32_t cols, int32_t scaleStride,
                  int32_t qmin, int32_t qmax) {
  eachRow(rows, cols, [&](int32_t r) {
    size_t start = (size_t)r * cols, at = (size_t)r * scaleStride;
    FakeRow row(scale[at], zeroPoint ? zeroPoint[at] : 0, qmin, qmax);
    for (int32_t c = 0; c < cols; c += LANES) {
      storeUpTo(y + start + c, row.scale * row.codesOf(loadUpTo(x + start + c, cols - c)).clamped, cols - c);
    }
  });
}

}  // namespace LOWBIT_ISA
