#include "../reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* The codes of n values x and their sum. */
static int32_t quantizeGroup(const float* x, int32_t n, float inv, uint8_t* codes) {
  i32v sums = {};
  int32_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    i32v code = convert(max(splat(-127.0f), min(splat(127.0f), roundHalfEven(load(x + i) * inv))));
    storeAs(codes + i, __builtin_convertvector(code, u8v));
    sums += code;
  }
  int32_t sum = 0;
  for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
  for (; i < n; i++) {
    int32_t code = (int32_t)roundHalfEven(x[i] * inv);
    code = code > 127 ? 127 : code < -127 ? -127 : code;
    codes[i] = (uint8_t)code;
    sum += code;
  }
  return sum;
}

void quantizeRows(const float* x, uint8_t* codes, float* scale, float* sum, int32_t rows, int32_t cols, int32_t groupSize,
                  float levels) {
  int32_t groups = (cols + groupSize - 1) / groupSize;
  size_t stride = ((size_t)cols + 63) / 64 * 64;
  eachRow(rows, cols, [&](int32_t r) {
    const float* row = x + (size_t)r * cols;
    uint8_t* to = codes + r * stride;
    for (int32_t g = 0; g < groups; g++) {
      int32_t c = g * groupSize, n = cols - c < groupSize ? cols - c : groupSize;
      const float* from = row + c;
      float absmax = rowMax(n, [&](int32_t i, int32_t count) { return abs(count == LANES ? load(from + i) : loadPartial(from + i, count)); });
      float inv = levels / absmax;
      bool usable = absmax < __builtin_inff() && inv < __builtin_inff();
      size_t at = (size_t)r * groups + g;
      scale[at] = absmax < __builtin_inff() ? absmax / levels : __builtin_nanf("");
      if (usable) {
        sum[at] = (float)quantizeGroup(row + c, n, inv, to + c);
      } else {
        sum[at] = 0;
        __builtin_memset(to + c, 0, n);
      }
    }
    __builtin_memset(to + cols, 0, stride - cols);
  });
}

}  // namespace LOWBIT_ISA
