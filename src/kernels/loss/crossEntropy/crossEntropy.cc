#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void crossEntropy(const float* logits, const int32_t* targets, float* nll, int32_t rows, int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    const float* row = logits + (size_t)r * cols;
    float max = rowMax(row, cols);
    double sum = rowExpSum(row, cols, max, [](int32_t, int32_t, f32v) {});
    int32_t target = targets[r];
    double logit = target >= 0 && target < cols ? row[target] : __builtin_nan("");
    nll[r] = (float)(log(sum) + (max - logit));
  });
}

}  // namespace LOWBIT_ISA
