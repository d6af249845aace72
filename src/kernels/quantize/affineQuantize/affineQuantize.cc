#include "../quantize/round.h"
#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void affineQuantize(const void* x, int32_t dtype, const void* scale, const uint8_t* zeroPoint, uint8_t* codes, int32_t rows,
                    int32_t cols, int32_t qmin, int32_t qmax, int32_t offset, int32_t reciprocal) {
  withFloat(dtype, [&](auto type) {
    constexpr int xType = decltype(type)::value;
    eachRow(rows, cols, [&](int32_t r) {
      uint8_t* row = codes + (size_t)r * cols;
      float rowScale = readFloat(scale, dtype, r);
      float inverse = roundTo(1 / rowScale, dtype);
      float z = (int8_t)(zeroPoint[r] - offset);
      auto encode = [&](f32v v, uint8_t* to) {
        f32v units = roundTo<xType>(reciprocal ? v * inverse : v / rowScale);
        f32v whole = roundTo<xType>(roundHalfEven(units) + z);
        whole = rowScale == 0 ? splat(z) : select(units == units, whole, splat(z));
        i32v code = convert(max(splat((float)qmin), min(splat((float)qmax), whole))) + offset;
        storeAs(to, __builtin_convertvector(code, u8v));
      };
      size_t start = (size_t)r * cols;
      int32_t c = 0;
      for (; c <= cols - LANES; c += LANES) encode(loadFloat<xType>(x, start + c), row + c);
      if (c < cols) {
        uint8_t rest[LANES];
        encode(loadFloatPartial(x, dtype, start + c, cols - c), rest);
        __builtin_memcpy(row + c, rest, cols - c);
      }
    });
  });
}

}  // namespace LOWBIT_ISA
