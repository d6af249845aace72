#pragma once
#include "../../reduce/reduce/row.h"

namespace LOWBIT_ISA {

/* √(mean(x²) + ε) of a row. */
OUTLINE float rowRms(const float* x, int32_t cols, float epsilon) {
  return (float)__builtin_sqrt(rowSum(x, cols, [](auto v) { return v * v; }) / cols + epsilon);
}

/* y[i] = x[from + i] / rms · weight[from + i] for i < n. */
OUTLINE void normalize(const float* x, float rms, const void* weight, int32_t weightDtype, int32_t from,
                       int32_t n, float* y) {
  int32_t i = 0;
  withWeightFloat(weightDtype, [&](auto type) {
    for (; i <= n - LANES; i += LANES)
      store(y + i, load(x + from + i) / rms * loadFloat<decltype(type)::value>(weight, from + i));
  });
  for (; i < n; i++) y[i] = x[from + i] / rms * readFloat(weight, weightDtype, from + i);
}

}  // namespace LOWBIT_ISA
