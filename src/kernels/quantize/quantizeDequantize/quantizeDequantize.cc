#include "../quantize/codes.h"
#include "../quantize/round.h"
#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void quantizeDequantize(const void* x, int32_t dtype, const void* scale, const void* shift, void* y, int32_t rows, int32_t cols,
                  int32_t qtype) {
  withFloat(dtype, [&](auto type) {
    constexpr int xType = decltype(type)::value;
    eachRow(rows, cols, [&](int32_t r) {
      float rowScale = readFloat(scale, dtype, r);
      float rowShift = shift ? readFloat(shift, dtype, r) : 0;
      auto nearest = [&](f32v v) {
        f32v units = rowScale == 0 ? f32v{} : roundTo<xType>((shift ? roundTo<xType>(v + rowShift) : v) / rowScale);
        f32v product = quantizeNearest(units, qtype) * rowScale;
        return shift ? roundTo<xType>(product) - rowShift : product;
      };
      size_t start = (size_t)r * cols;
      int32_t c = 0;
      for (; c <= cols - LANES; c += LANES) storeFloat<xType>(y, start + c, nearest(loadFloat<xType>(x, start + c)));
      if (c < cols) storeFloatPartial(y, dtype, start + c, nearest(loadFloatPartial(x, dtype, start + c, cols - c)), cols - c);
    });
  });
}

}  // namespace LOWBIT_ISA
