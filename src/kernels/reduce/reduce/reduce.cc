#include "../reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void reduce(int32_t op, const float* x, float* y, int32_t rows, int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    const float* row = x + (size_t)r * cols;
    auto values = [&](int32_t c, int32_t n) { return n == LANES ? load(row + c) : loadPartial(row + c, n); };
    switch (op) {
      case 0: y[r] = (float)rowSum(row, cols, [](auto v) { return v; }); break;
      case 1: y[r] = (float)(rowSum(row, cols, [](auto v) { return v; }) / cols); break;
      case 2: y[r] = rowMax(cols, values); break;
      case 3: y[r] = -rowMax(cols, [&](int32_t c, int32_t n) { return -values(c, n); }); break;
      case 4: y[r] = rowAbsMax(cols, values); break;
      case 5: y[r] = (float)__builtin_sqrt(rowSum(row, cols, [](auto v) { return v * v; })); break;
      default: __builtin_trap();
    }
  });
}

}  // namespace LOWBIT_ISA
