#include "../../reduce/reduce/row.h"
#include "../quantize/codes.h"
#include "../quantize/round.h"
#include "simd.h"

namespace LOWBIT_ISA {

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
