#include "../unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void clamp(const float* x, float low, float high, float* y, int32_t count) {
  /* In this order NaN passes; the same as selects becomes relaxed_min on WebAssembly, where it does not. */
  eachVector(count, [&](int32_t i, int32_t n) {
    storeUpTo(y + i, max(splat(low), min(splat(high), loadUpTo(x + i, n))), n);
  });
}

}  // namespace LOWBIT_ISA
