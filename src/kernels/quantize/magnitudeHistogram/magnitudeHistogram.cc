#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void magnitudeHistogram(const float* x, int32_t* counts, float* range, int32_t count, int32_t bins) {
  float largest = rowAbsMax(count, [&](int32_t i, int32_t n) { return loadUpTo(x + i, n); });
  /* Also where either is NaN. */
  if (count > 0 && !(largest <= range[1])) range[1] = range[1] == range[1] ? largest : range[1];
  if (!(range[1] < __builtin_inff())) return;
  while (range[0] < range[1] && range[0] < 0x1p127f) {
    range[0] *= 2;
    for (int32_t b = 0; b < bins; b++) counts[b] = b < bins / 2 ? counts[2 * b] + counts[2 * b + 1] : 0;
  }
  float perUnit = (float)bins / range[0];
  for (int32_t i = 0; i < count; i++) {
    float bin = __builtin_fabsf(x[i]) * perUnit;
    counts[bin < bins ? (int32_t)bin : bins - 1]++;
  }
}

}  // namespace LOWBIT_ISA
