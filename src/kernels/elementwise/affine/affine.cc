#include "../unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void affine(const float* x, float scale, float offset, float* y, int32_t count) {
  eachVector(count, [&](int32_t i, int32_t n) { storeUpTo(y + i, loadUpTo(x + i, n) * scale + offset, n); });
}

}  // namespace LOWBIT_ISA
