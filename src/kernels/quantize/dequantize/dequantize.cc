#include "../quantize/codes.h"
#include "simd.h"

namespace LOWBIT_ISA {

void dequantize(const uint8_t* codes, int32_t qtype, const void* scale, int32_t scaleStride,
                const void* shift, const uint8_t* zeroPoint, void* y, int32_t dtype, int32_t rows,
                int32_t cols) {
  withWeightFloat(dtype, [&](auto type) {
    constexpr int yType = decltype(type)::value;
    const CodeValues decoded(qtype);
    eachRun(rows, cols, scaleStride, [&](size_t start, int32_t n, int32_t at) {
      float runScale = readFloat(scale, dtype, at);
      float runShift = shift ? readFloat(shift, dtype, at) : 0;
      float z = zeroPoint ? codeValue(zeroPoint[at], qtype) : 0;
      auto values = [&](const uint8_t* from) {
        f32v product = (decoded.of(from) - z) * runScale;
        return shift ? roundTo<yType>(product) - runShift : product;
      };
      int32_t i = 0;
      for (; i <= n - LANES; i += LANES) storeFloat<yType>(y, start + i, values(codes + start + i));
      if (i < n) {
        uint8_t rest[LANES] = {};
        __builtin_memcpy(rest, codes + start + i, n - i);
        storeFloatPartial(y, dtype, start + i, values(rest), n - i);
      }
    });
  });
}

}  // namespace LOWBIT_ISA
