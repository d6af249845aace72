#include "../quantize/codes.h"
#include "bounds.h"

namespace LOWBIT_ISA {

void clampInt8(const uint8_t* x, const float* scale, float low, float high, uint8_t* y, int32_t count) {
  const float inverse = reciprocal(*scale);
  const int8_t least = (int8_t)codeBound(low, inverse), most = (int8_t)codeBound(high, inverse);
  eachPiece(count, [&](int32_t i, int32_t end) {
    for (; i < end; i++) {
      const int8_t code = (int8_t)x[i], below = most < code ? most : code;
      y[i] = (uint8_t)(least > below ? least : below);
    }
  });
}

}  // namespace LOWBIT_ISA
