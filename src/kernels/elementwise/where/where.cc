#include "../unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

void where(const uint8_t* mask, const float* a, float aValue, const float* b, float bValue, float* y,
           int32_t count) {
  eachVector(count, [&](int32_t i, int32_t n) {
    u8v bytes = {};
    if (n == LANES) bytes = loadAs<u8v>(mask + i);
    else for (int32_t k = 0; k < n; k++) bytes[k] = mask[i + k];
    i32v chosen = widenBytes(bytes) != 0;
    storeUpTo(y + i,
              select(chosen, a ? loadUpTo(a + i, n) : splat(aValue), b ? loadUpTo(b + i, n) : splat(bValue)),
              n);
  });
}

}  // namespace LOWBIT_ISA
