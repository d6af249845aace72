#include "../unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void clamp(const float* x, float low, float high, float* y, int32_t count) {
  eachVector(count, [&](int32_t i, int32_t n) {
    /* In this order both pass NaN on; of comparisons and select the WebAssembly compiler makes a minimum that does not. */
    storeUpTo(y + i, min(splat(high), max(splat(low), loadUpTo(x + i, n))), n);
  });
}

}  // namespace LOWBIT_ISA
