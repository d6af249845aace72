#include "../quantize/codes.h"
#include "simd.h"

namespace LOWBIT_ISA {

void fakeQuantize(const void* x, int32_t dtype, const void* scale, int32_t scaleStride, const void* shift,
                  const int32_t* zeroPoint, void* y, int32_t rows, int32_t cols, int32_t qtype, int32_t qmin,
                  int32_t qmax) {
  withWeightFloat(dtype, [&](auto type) {
    constexpr int xType = decltype(type)::value;
    withCodes(qtype, [&](auto kind) {
      eachRun(rows, cols, scaleStride, [&](size_t start, int32_t n, int32_t at) {
        Units<xType> units(scale, shift, at, false);
        int32_t z = zeroPoint ? zeroPoint[at] : 0;
        const CodeRange<decltype(kind)::value> range(qtype, qmin - z, qmax - z);
        auto nearest = [&](f32v v) {
          f32v product = range.nearest(units.of(v)) * units.scale;
          return shift ? roundTo<xType>(product) - units.shift : product;
        };
        int32_t i = 0;
        for (; i <= n - LANES; i += LANES)
          storeFloat<xType>(y, start + i, nearest(loadFloat<xType>(x, start + i)));
        if (i < n)
          storeFloatPartial(y, dtype, start + i, nearest(loadFloatPartial(x, dtype, start + i, n - i)),
                            n - i);
      });
    });
  });
}

}  // namespace LOWBIT_ISA
