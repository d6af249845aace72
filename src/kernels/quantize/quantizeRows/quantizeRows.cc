#include "rows.h"

namespace LOWBIT_ISA {

void quantizeRows(const float* x, uint8_t* codes, float* scale, float* sum, int32_t rows, int32_t cols,
                  int32_t groupSize, float levels) {
  Int8Rows{codes, scale, sum, rows, cols, groupSize, levels}.write([&](int32_t r) {
    return [row = x + (size_t)r * cols](int32_t c, int32_t) { return row + c; };
  });
}

}  // namespace LOWBIT_ISA
