#include "../unary/elements.h"
#include "simd.h"

namespace LOWBIT_ISA {

INLINE u32v dropoutMix(u32v h) {
  h = (h ^ (h >> 16)) * 0x85ebca6bu;
  h = (h ^ (h >> 13)) * 0xc2b2ae35u;
  return h ^ (h >> 16);
}

void dropout(const float* x, float p, int32_t seed, float* y, int32_t count) {
  if (p >= 1) {
    for (int32_t i = 0; i < count; i++) y[i] = 0;
    return;
  }
  u32v dropped = splat((uint32_t)((double)p * 4294967296.0));
  float scale = (float)(1 / (1 - (double)p));
  u32v lanes;
  for (int i = 0; i < LANES; i++) lanes[i] = (uint32_t)i;
  eachVector(count, [&](int32_t i, int32_t n) {
    u32v bits = dropoutMix(dropoutMix(lanes + (uint32_t)i) + (uint32_t)seed);
    storeUpTo(y + i, select((i32v)(bits >= dropped), loadUpTo(x + i, n) * scale, splat(0.0f)), n);
  });
}

}  // namespace LOWBIT_ISA
