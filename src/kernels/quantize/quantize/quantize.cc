#include "../quantize/codes.h"
#include "simd.h"

namespace LOWBIT_ISA {

void quantize(const void* x, int32_t dtype, const void* scale, int32_t scaleStride, const void* shift,
              const uint8_t* zeroPoint, uint8_t* codes, int32_t rows, int32_t cols, int32_t qtype,
              int32_t qmin, int32_t qmax, int32_t reciprocal) {
  withWeightFloat(dtype, [&](auto type) {
    constexpr int xType = decltype(type)::value;
    withCodes(qtype, [&](auto kind) {
      const CodeRange<decltype(kind)::value> range(qtype, qmin, qmax);
      eachRun(rows, cols, scaleStride, [&](size_t start, int32_t n, int32_t at) {
        Units<xType> units(scale, shift, at, reciprocal);
        float z = zeroPoint ? codeValue(zeroPoint[at], qtype) : 0;
        auto encode = [&](f32v v, uint8_t* to) { range.encode(units.of(v), z, to); };
        int32_t i = 0;
        for (; i <= n - LANES; i += LANES) encode(loadFloat<xType>(x, start + i), codes + start + i);
        if (i < n) {
          uint8_t rest[LANES];
          encode(loadFloatPartial(x, dtype, start + i, n - i), rest);
          __builtin_memcpy(codes + start + i, rest, n - i);
        }
      });
    });
  });
}

}  // namespace LOWBIT_ISA
