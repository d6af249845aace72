#include "gated.h"

namespace LOWBIT_ISA {

/* Values per task. */
constexpr int32_t siluMulPiece = 1 << 14;

void siluMul(const float* gate, const float* up, float* y, int32_t count) {
  parallelFor((int32_t)(((int64_t)count + siluMulPiece - 1) / siluMulPiece), [&](int32_t piece) {
    const int32_t i = piece * siluMulPiece;
    gated(gate + i, up + i, count - i < siluMulPiece ? count - i : siluMulPiece, y + i);
  });
}

}  // namespace LOWBIT_ISA
