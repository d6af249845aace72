#include "../quantize/codes.h"
#include "simd.h"

namespace LOWBIT_ISA {

void dequantizeActivation(const uint8_t* codes, const float* scale, float* y, int32_t count, int32_t qtype) {
  float unit = *scale;
  eachPiece(count, [&](int32_t i, int32_t end) {
    for (; i <= end - LANES; i += LANES) store(y + i, dequantizeDecode(codes + i, qtype) * unit);
    if (i < end) {
      uint8_t rest[LANES] = {};
      __builtin_memcpy(rest, codes + i, end - i);
      storePartial(y + i, dequantizeDecode(rest, qtype) * unit, end - i);
    }
  });
}

}  // namespace LOWBIT_ISA
