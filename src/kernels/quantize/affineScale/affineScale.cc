#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void affineScale(const void* x, int32_t dtype, int32_t mapping, void* scale, uint8_t* zeroPoint, int32_t rows, int32_t cols,
                 int32_t qmin, int32_t qmax, int32_t offset, float epsilon) {
  withFloat(dtype, [&](auto type) {
    eachRow(rows, cols, [&](int32_t r) {
      auto values = [&](int32_t c, int32_t n) {
        size_t index = (size_t)r * cols + c;
        return n == LANES ? loadFloat<decltype(type)::value>(x, index) : loadFloatPartial(x, dtype, index, n);
      };
      float highest = rowMax(cols, values);
      float lowest = -rowMax(cols, [&](int32_t c, int32_t n) { return -values(c, n); });
      /* Comparisons in this order pass NaN on. */
      float most = highest < 0 ? 0 : highest, least = lowest > 0 ? 0 : lowest;
      float chosen;
      if (mapping == 0) {
        chosen = (-least > most ? -least : most) / ((float)(qmax - qmin) / 2);
      } else if (mapping == 2) {
        chosen = roundTo(most - least, dtype) / (float)(qmax - qmin);
      } else {
        float smin = roundTo(least / (float)qmin, dtype), smax = roundTo(most / (float)qmax, dtype);
        chosen = smin > smax ? smin : smax;
      }
      float rounded = roundTo(chosen, dtype);
      rounded = roundTo(rounded < epsilon ? epsilon : rounded, dtype);
      int32_t z = 0;
      if (mapping == 2) {
        float above = (float)qmin - roundHalfEven(roundTo(least / rounded, dtype));
        z = (int32_t)(above > (float)qmax ? (float)qmax : above >= (float)qmin ? above : (float)qmin);
      }
      writeFloat(scale, dtype, r, rounded);
      zeroPoint[r] = (uint8_t)(z + offset);
    });
  });
}

}  // namespace LOWBIT_ISA
