#pragma once
#include "../unary/sigmoid.h"

namespace LOWBIT_ISA {

/* y[i] = silu(gate[i]) · up[i] for i < n. */
OUTLINE void gated(const float* gate, const float* up, int32_t n, float* y) {
  auto apply = [](f32v gate, f32v up) { return gate * sigmoid(gate) * up; };
  int32_t i = 0;
  for (; i <= n - LANES; i += LANES) store(y + i, apply(load(gate + i), load(up + i)));
  if (i < n) storePartial(y + i, apply(loadPartial(gate + i, n - i), loadPartial(up + i, n - i)), n - i);
}

}  // namespace LOWBIT_ISA
