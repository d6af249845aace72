#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void absmaxScale(const void* x, int32_t dtype, void* scale, int32_t rows, int32_t cols, float qmax) {
  withFloat(dtype, [&](auto type) {
    eachRow(rows, cols, [&](int32_t r) {
      size_t start = (size_t)r * cols;
      float absmax = rowMax(cols, [&](int32_t c, int32_t n) {
        return abs(n == LANES ? loadFloat<decltype(type)::value>(x, start + c) : loadFloatPartial(x, dtype, start + c, n));
      });
      writeFloat(scale, dtype, r, absmax / qmax);
    });
  });
}

}  // namespace LOWBIT_ISA
