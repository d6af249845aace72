#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * With a = x - max x and b the same of the other logits, log p - log q = a - b - (log Σe^a - log Σe^b): the
 * row's sum is Σ e^a·(a - b) / Σe^a - log Σe^a + log Σe^b. Only the exponentials are float32.
 */
void klDivergence(const float* logits, const float* otherLogits, float* kl, int32_t rows, int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    const float* x = logits + (size_t)r * cols;
    const float* other = otherLogits + (size_t)r * cols;
    float max = rowMax(x, cols);
    float otherMax = rowMax(other, cols);
    double weighted = 0;
    double sum = rowExpSum(x, cols, max, [&](int32_t c, int32_t n, f32v e) {
      for (int32_t i = 0; i < n; i++) {
        double difference = ((double)x[c + i] - max) - ((double)other[c + i] - otherMax);
        weighted += x[c + i] == -__builtin_inff() ? 0 : e[i] * difference;
      }
    });
    double otherSum = rowExpSum(other, cols, otherMax, [](int32_t, int32_t, f32v) {});
    kl[r] = (float)(weighted / sum - (log(sum) - log(otherSum)));
  });
}

}  // namespace LOWBIT_ISA
