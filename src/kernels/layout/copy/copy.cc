#include "simd.h"

namespace LOWBIT_ISA {

/* Bytes per task: enough that waking a thread is worth it. */
constexpr size_t copyPiece = 1 << 18;

void copy(const uint8_t* x, uint8_t* y, int32_t bytes) {
  parallelFor((int32_t)((bytes + copyPiece - 1) / copyPiece), [&](int32_t piece) {
    size_t start = piece * copyPiece;
    size_t rest = bytes - start;
    __builtin_memcpy(y + start, x + start, rest < copyPiece ? rest : copyPiece);
  });
}

}  // namespace LOWBIT_ISA
