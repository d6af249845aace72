#include "../unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void clipValue(float* x, float limit, int32_t count) {
  eachVector(count, [&](int32_t i, int32_t n) {
    storeUpTo(x + i, min(splat(limit), max(splat(-limit), loadUpTo(x + i, n))), n);
  });
}

}  // namespace LOWBIT_ISA
