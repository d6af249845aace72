#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void minmaxScale(const void* x, int32_t dtype, void* scale, void* shift, int32_t rows, int32_t cols, int32_t levels) {
  withFloat(dtype, [&](auto type) {
    eachRow(rows, cols, [&](int32_t r) {
      auto values = [&](int32_t c, int32_t n) {
        size_t index = (size_t)r * cols + c;
        return n == LANES ? loadFloat<decltype(type)::value>(x, index) : loadFloatPartial(x, dtype, index, n);
      };
      float max = rowMax(cols, values);
      float minusMin = rowMax(cols, [&](int32_t c, int32_t n) { return -values(c, n); });
      writeFloat(scale, dtype, r, roundTo(max + minusMin, dtype) / (float)levels);
      writeFloat(shift, dtype, r, minusMin);
    });
  });
}

}  // namespace LOWBIT_ISA
