#include "../unary/sigmoid.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* Values per task. */
constexpr int32_t siluMulPiece = 1 << 14;

void siluMul(const float* gate, const float* up, float* y, int32_t count) {
  auto apply = [](f32v gate, f32v up) { return gate * sigmoid(gate) * up; };
  parallelFor((int32_t)(((int64_t)count + siluMulPiece - 1) / siluMulPiece), [&](int32_t piece) {
    int32_t i = piece * siluMulPiece;
    int32_t end = count - i < siluMulPiece ? count : i + siluMulPiece;
    for (; i <= end - LANES; i += LANES) store(y + i, apply(load(gate + i), load(up + i)));
    if (i < end)
      storePartial(y + i, apply(loadPartial(gate + i, end - i), loadPartial(up + i, end - i)), end - i);
  });
}

}  // namespace LOWBIT_ISA
