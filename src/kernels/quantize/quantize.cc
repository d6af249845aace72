#include "../reduce/row.h"
#include "../quantize/round.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* The codes of values x in units of the scale, at codes. */
INLINE void quantizeEncode(f32v x, int32_t qtype, uint8_t* codes) {
  if (float8Of(qtype) >= 0) {
    float largest = qtype == QFLOAT8_E4M3FN ? 448.0f : qtype == QFLOAT8_E5M2 ? 57344.0f : 240.0f;
    storeFloat(codes, float8Of(qtype), 0, max(splat(-largest), min(splat(largest), x)));
    return;
  }
  float smallest = qtype == QINT8 ? -128.0f : 0.0f;
  float largest = qtype == QINT8 ? 127.0f : qtype == QINT5 ? 31.0f : qtype == QINT4 ? 15.0f : 3.0f;
  f32v whole = roundHalfEven(max(splat(smallest), min(splat(largest), x)));
  storeAs(codes, __builtin_convertvector(convert(select(x == x, whole, splat(0.0f))), u8v));
}

void quantize(const void* x, int32_t dtype, const void* scale, const void* shift, uint8_t* codes,
              int32_t rows, int32_t cols, int32_t qtype) {
  withFloat(dtype, [&](auto type) {
    constexpr int xType = decltype(type)::value;
    eachRow(rows, cols, [&](int32_t r) {
      uint8_t* row = codes + (size_t)r * cols;
      float rowScale = readFloat(scale, dtype, r);
      if (rowScale == 0) {
        __builtin_memset(row, 0, cols);
        return;
      }
      float rowShift = shift ? readFloat(shift, dtype, r) : 0;
      auto units = [&](f32v v) { return roundTo<xType>((shift ? roundTo<xType>(v + rowShift) : v) / rowScale); };
      size_t start = (size_t)r * cols;
      int32_t c = 0;
      for (; c <= cols - LANES; c += LANES) quantizeEncode(units(loadFloat<xType>(x, start + c)), qtype, row + c);
      if (c < cols) {
        uint8_t rest[LANES];
        quantizeEncode(units(loadFloatPartial(x, dtype, start + c, cols - c)), qtype, rest);
        __builtin_memcpy(row + c, rest, cols - c);
      }
    });
  });
}

}  // namespace LOWBIT_ISA
