#include "../quantize/codes.h"
#include "simd.h"

namespace LOWBIT_ISA {

void unaryInt8(int32_t op, const uint8_t* x, uint8_t* y, int32_t count) {
  eachPiece(count, [&](int32_t i, int32_t end) {
    if (op == 0) {
      for (; i < end; i++) y[i] = x[i] == 0x80 ? 0x7f : -x[i];
    } else {
      for (; i < end; i++) y[i] = x[i] & 0x80 ? 0 : x[i];
    }
  });
}

}  // namespace LOWBIT_ISA
