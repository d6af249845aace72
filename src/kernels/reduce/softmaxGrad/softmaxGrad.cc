#include "../reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void softmaxGrad(int32_t log, const float* y, const float* dy, float* dx, int32_t rows, int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    size_t start = (size_t)r * cols;
    float sum = (float)(log ? rowSum(dy + start, cols, [](auto v) { return v; })
                            : rowDot(y + start, dy + start, cols));
    for (int32_t c = 0; c < cols; c += LANES) {
      f32v out = loadUpTo(y + start + c, cols - c), gradient = loadUpTo(dy + start + c, cols - c);
      storeUpTo(dx + start + c, log ? gradient - exp(out) * sum : out * (gradient - sum), cols - c);
    }
  });
}

}  // namespace LOWBIT_ISA
