#include "../unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void clamp(const float* x, float low, float high, float* y, int32_t count) {
  eachVector(count, [&](int32_t i, int32_t n) {
    f32v v = loadUpTo(x + i, n);
    storeUpTo(y + i, select(v < low, splat(low), select(v > high, splat(high), v)), n);
  });
}

}  // namespace LOWBIT_ISA
