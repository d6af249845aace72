#include "../quantize/codes.h"
#include "simd.h"

namespace LOWBIT_ISA {

void quantizeActivation(const float* x, const float* scale, uint8_t* codes, int32_t count, int32_t qtype) {
  float unit = *scale;
  auto encode = [&](f32v v, uint8_t* to) { quantizeEncode(unit == 0 ? f32v{} : v / unit, qtype, to); };
  eachPiece(count, [&](int32_t i, int32_t end) {
    for (; i <= end - LANES; i += LANES) encode(load(x + i), codes + i);
    if (i < end) {
      uint8_t rest[LANES];
      encode(loadPartial(x + i, end - i), rest);
      __builtin_memcpy(codes + i, rest, end - i);
    }
  });
}

}  // namespace LOWBIT_ISA
