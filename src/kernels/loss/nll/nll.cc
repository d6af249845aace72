#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void nll(const float* logProbabilities, const int32_t* targets, float smoothing, int32_t ignoreIndex,
         float* loss, float* counted, int32_t rows, int32_t cols) {
  double s = smoothing;
  eachRow(rows, smoothing == 0 ? 1 : cols, [&](int32_t r) {
    const float* row = logProbabilities + (size_t)r * cols;
    int32_t target = targets[r];
    bool ignored = target == ignoreIndex;
    double own = target >= 0 && target < cols ? row[target] : __builtin_nan("");
    double mean = s == 0 ? 0 : rowSum(row, cols, [](auto v) { return v; }) / cols;
    loss[r] = ignored ? 0 : (float)(-(1 - s) * own - s * mean);
    counted[r] = ignored ? 0 : 1;
  });
}

}  // namespace LOWBIT_ISA
