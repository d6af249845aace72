#include "../../elementwise/unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void clipNorm(float* x, const float* norm, float maxNorm, int32_t count) {
  float factor = maxNorm / (norm[0] + 1e-6f);
  /* Read and written only where something changes; NaN does. */
  if (factor >= 1) return;
  eachVector(count, [&](int32_t i, int32_t n) { storeUpTo(x + i, loadUpTo(x + i, n) * factor, n); });
}

}  // namespace LOWBIT_ISA
