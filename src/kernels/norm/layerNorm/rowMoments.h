#pragma once
#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * What a row is normalized with: its mean, and the inverse of its standard deviation, or of its root mean
 * square.
 */
struct RowMoments {
  float mean, inverse;
};

/* Sums in float64; not centered, the mean counts as 0. */
INLINE RowMoments rowMoments(const float* x, int32_t cols, float epsilon, bool centered) {
  double mean = centered ? rowSum(x, cols, [](auto v) { return v; }) / cols : 0;
  double square = rowSum(x, cols, [&](auto v) { auto d = v - mean; return d * d; }) / cols;
  return {(float)mean, (float)(1 / __builtin_sqrt(square + epsilon))};
}

}  // namespace LOWBIT_ISA
