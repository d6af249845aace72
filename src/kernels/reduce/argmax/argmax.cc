#include "../reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * Columns searched at a time: the largest of a block is found with vectors, its place only in the block that
 * wins.
 */
constexpr int32_t argmaxBlock = 256;

void argmax(const float* x, int32_t* y, int32_t rows, int32_t cols) {
  eachRow(rows, cols, [&](int32_t r) {
    const float* row = x + (size_t)r * cols;
    float best = -__builtin_inff();
    int32_t start = 0;
    for (int32_t c = 0; c < cols; c += argmaxBlock) {
      float largest = rowMax(row + c, cols - c < argmaxBlock ? cols - c : argmaxBlock);
      if (largest <= best) continue;
      best = largest;
      start = c;
      /* Nothing exceeds NaN. */
      if (best != best) break;
    }
    while (!(row[start] == best || (row[start] != row[start] && best != best))) start++;
    y[r] = start;
  });
}

}  // namespace LOWBIT_ISA
