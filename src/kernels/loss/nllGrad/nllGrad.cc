#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void nllGrad(const int32_t* targets, const float* dloss, float smoothing, int32_t ignoreIndex, float* dx,
             int32_t rows, int32_t cols) {
  double s = smoothing;
  eachRow(rows, cols, [&](int32_t r) {
    float* row = dx + (size_t)r * cols;
    int32_t target = targets[r];
    bool inside = target >= 0 && target < cols;
    float rest = target == ignoreIndex ? 0 : inside ? (float)(-dloss[r] * (s / cols)) : __builtin_nanf("");
    for (int32_t c = 0; c < cols; c++) row[c] = rest;
    if (inside && target != ignoreIndex) row[target] = (float)(-dloss[r] * ((1 - s) + s / cols));
  });
}

}  // namespace LOWBIT_ISA
