#include "../quantize/codes.h"
#include "../quantize/round.h"
#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void dequantize(const uint8_t* codes, int32_t qtype, const void* scale, const void* shift, void* y, int32_t dtype,
                int32_t rows, int32_t cols) {
  withFloat(dtype, [&](auto type) {
    constexpr int yType = decltype(type)::value;
    eachRow(rows, cols, [&](int32_t r) {
      float rowScale = readFloat(scale, dtype, r);
      float rowShift = shift ? readFloat(shift, dtype, r) : 0;
      auto values = [&](const uint8_t* codes) {
        f32v product = dequantizeDecode(codes, qtype) * rowScale;
        return shift ? roundTo<yType>(product) - rowShift : product;
      };
      size_t start = (size_t)r * cols;
      int32_t c = 0;
      for (; c <= cols - LANES; c += LANES) storeFloat<yType>(y, start + c, values(codes + start + c));
      if (c < cols) {
        uint8_t rest[LANES] = {};
        __builtin_memcpy(rest, codes + start + c, cols - c);
        storeFloatPartial(y, dtype, start + c, values(rest), cols - c);
      }
    });
  });
}

}  // namespace LOWBIT_ISA
