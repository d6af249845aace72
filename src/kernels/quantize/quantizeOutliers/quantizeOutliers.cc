#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* LANES values, of which n count, rounded to float16. */
INLINE f32v asHalves(const float* x, int32_t n) {
  uint16_t halves[LANES];
  storeFloat<FLOAT16>(halves, 0, loadUpTo(x, n));
  return loadFloat<FLOAT16>(halves, 0);
}

/* Columns that a task looks through, row by row. */
constexpr int32_t outlierColumns = 1024;

static void findOutliers(const float* x, uint8_t* outliers, int32_t rows, int32_t cols, float threshold) {
  parallelFor((cols + outlierColumns - 1) / outlierColumns, [&](int32_t task) {
    int32_t first = task * outlierColumns;
    int32_t last = cols - first < outlierColumns ? cols : first + outlierColumns;
    __builtin_memset(outliers + first, 0, last - first);
    for (int32_t r = 0; r < rows; r++) {
      for (int32_t c = first; c < last; c += LANES) {
        int32_t n = last - c < LANES ? last - c : LANES;
        f32v h = abs(asHalves(x + (size_t)r * cols + c, n));
        if (max(select(h >= threshold, splat(1.0f), f32v{})) == 0) continue;
        for (int32_t i = 0; i < n; i++) outliers[c + i] |= h[i] >= threshold;
      }
    }
  });
}

void quantizeOutliers(const float* x, uint8_t* codes, float* scale, float* sum, uint8_t* outliers,
                      int32_t rows, int32_t cols, float threshold) {
  findOutliers(x, outliers, rows, cols, threshold);
  size_t stride = ((size_t)cols + 63) / 64 * 64;
  eachRow(rows, cols, [&](int32_t r) {
    const float* row = x + (size_t)r * cols;
    uint8_t* to = codes + r * stride;
    auto below = [&](int32_t c, int32_t n) {
      f32v h = asHalves(row + c, n);
      return select(abs(h) >= threshold, f32v{}, h);
    };
    float most = rowMax(cols, [&](int32_t c, int32_t n) { return abs(below(c, n)); });
    float inverse = 1 / most * 127;
    scale[r] = most == most ? most / 127 : __builtin_nanf("");
    int32_t total = 0;
    for (int32_t c = 0; c < cols; c += LANES) {
      int32_t n = cols - c < LANES ? cols - c : LANES;
      f32v units = below(c, n) * inverse;
      for (int32_t i = 0; i < n; i++) {
        bool counts = inverse < __builtin_inff() && !outliers[c + i];
        int32_t code = counts ? (int32_t)roundHalfEven(units[i]) : 0;
        code = code > 127 ? 127 : code < -127 ? -127 : code;
        to[c + i] = (uint8_t)code;
        total += code;
      }
    }
    sum[r] = (float)total;
    __builtin_memset(to + cols, 0, stride - cols);
  });
}

}  // namespace LOWBIT_ISA
