#include "../unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void clampGrad(const float* x, const float* dy, float low, float high, float* dx, int32_t count) {
  eachVector(count, [&](int32_t i, int32_t n) {
    f32v v = loadUpTo(x + i, n);
    storeUpTo(dx + i, select((v >= low) & (v <= high), loadUpTo(dy + i, n), splat(0.0f)), n);
  });
}

}  // namespace LOWBIT_ISA
