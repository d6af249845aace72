#include "../../quantize/quantizeRows/group.h"
#include "../attention/positions.h"

namespace LOWBIT_ISA {

void cacheQuantize(const float* x, uint8_t* codes, float* scale, const int32_t* positions, int32_t batch, int32_t tokens,
                   int32_t heads, int32_t headSize, int32_t position, int32_t capacity, int32_t groupSize) {
  int32_t groups = (headSize + groupSize - 1) / groupSize;
  int32_t rows = batch * tokens, rowsPerTask = 32768 / (heads * headSize) + 1;
  parallelFor((rows + rowsPerTask - 1) / rowsPerTask, [&](int32_t task) {
    for (int32_t row = task * rowsPerTask; row < (task + 1) * rowsPerTask && row < rows; row++) {
      int32_t b = row / tokens, t = row % tokens, first = firstPosition(position, positions, b);
      if (first < 0 || first + t >= capacity) continue;
      for (int32_t h = 0; h < heads; h++) {
        const float* from = x + (((size_t)b * tokens + t) * heads + h) * headSize;
        size_t to = ((size_t)b * heads + h) * capacity + first + t;
        for (int32_t g = 0; g < groups; g++) {
          int32_t i = g * groupSize, n = headSize - i < groupSize ? headSize - i : groupSize;
          quantizeGroup(from + i, n, 127, codes + to * headSize + i, scale[to * groups + g]);
        }
      }
    }
  });
}

}  // namespace LOWBIT_ISA
