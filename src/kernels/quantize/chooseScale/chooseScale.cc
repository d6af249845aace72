#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

enum ScaleRule { ABSMAX, NO_CLIPPING, RANGE, EDGE };

/* The scale of a range; comparisons in this order pass NaN on. */
template <int dtype> INLINE float chosenScale(int32_t rule, float least, float most, float qmin, float qmax) {
  if (rule == RANGE) return roundTo(most - least, dtype) / (qmax - qmin);
  float below = roundTo(least / qmin, dtype), above = roundTo(most / qmax, dtype);
  return below > above ? below : above;
}

struct ScaleAndShift { float scale, shift; };

/* The rule `edge`. */
template <int dtype> INLINE ScaleAndShift edgeOf(float least, float most, float levels, float epsilon) {
  float width = roundTo(roundTo(most - least, dtype) / levels, dtype);
  width = roundTo(width < epsilon ? epsilon : width, dtype);
  bool below = __builtin_fabsf(least) > __builtin_fabsf(most);
  float edge = below ? least : most, step = below ? width : -width;
  float n = roundHalfEven(roundTo(edge / step, dtype));
  if (n == 0) return {step, 0};
  return {roundTo(edge / n, dtype), edge == 0 ? 0 : -edge};
}

void chooseScale(int32_t rule, const void* x, int32_t dtype, void* scale, void* shift, uint8_t* zeroPoint,
                 int32_t rows, int32_t cols, int32_t qmin, int32_t qmax, int32_t zero, float epsilon) {
  float lowest = (float)qmin, highest = (float)qmax, half = (highest - lowest) / 2;
  withWeightFloat(dtype, [&](auto type) {
    constexpr int xType = decltype(type)::value;
    eachRow(rows, cols, [&](int32_t r) {
      auto values = [&](int32_t c, int32_t n) {
        size_t index = (size_t)r * cols + c;
        return n == LANES ? loadFloat<xType>(x, index) : loadFloatPartial(x, dtype, index, n);
      };
      float least = 0, chosen;
      if (rule == ABSMAX) {
        chosen = rowAbsMax(cols, values) / half;
      } else {
        RowRange range = rowRange(cols, values);
        if (!shift) {
          range.most = range.most < 0 ? 0 : range.most;
          range.least = range.least > 0 ? 0 : range.least;
        }
        least = range.least;
        if (rule == EDGE && shift) {
          ScaleAndShift found = edgeOf<xType>(least, range.most, highest - lowest, epsilon);
          writeFloat(scale, xType, r, found.scale);
          writeFloat(shift, xType, r, found.shift);
          return;
        }
        chosen = chosenScale<xType>(rule, least, range.most, lowest, highest);
      }
      float rounded = roundTo(chosen, xType);
      rounded = roundTo(rounded < epsilon ? epsilon : rounded, xType);
      writeFloat(scale, xType, r, rounded);
      if (shift) writeFloat(shift, xType, r, -least);
      if (!zeroPoint) return;
      int32_t z = 0;
      if (rule == RANGE) {
        float above = lowest - roundHalfEven(roundTo(least / rounded, xType));
        z = (int32_t)(above > highest ? highest : above >= lowest ? above : lowest);
      }
      zeroPoint[r] = (uint8_t)(z + zero);
    });
  });
}

}  // namespace LOWBIT_ISA
