#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void affineDequantize(const uint8_t* codes, int32_t qtype, const void* scale, const uint8_t* zeroPoint, void* y, int32_t dtype,
                      int32_t rows, int32_t cols) {
  /*
   * A signed byte is what its pattern with the sign flipped is above -128; the difference of two is the same.
   */
  int32_t flip = qtype == QINT8 ? 0x80 : 0;
  withFloat(dtype, [&](auto type) {
    constexpr int yType = decltype(type)::value;
    eachRow(rows, cols, [&](int32_t r) {
      float rowScale = readFloat(scale, dtype, r);
      int32_t z = zeroPoint[r] ^ flip;
      auto values = [&](const uint8_t* from) {
        i32v code = widenBytes(loadAs<u8v>(from)) ^ flip;
        return convert(code - z) * rowScale;
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
