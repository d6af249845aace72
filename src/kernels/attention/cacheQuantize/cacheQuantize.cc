#include "../../quantize/quantizeRows/group.h"

namespace LOWBIT_ISA {

void cacheQuantize(const float* x, uint8_t* codes, float* scale, int32_t batch, int32_t tokens, int32_t heads,
                   int32_t headSize, int32_t position, int32_t capacity, int32_t groupSize) {
  int32_t groups = (headSize + groupSize - 1) / groupSize;
  int32_t kept = capacity - position < tokens ? capacity - position : tokens;
  if (kept <= 0) return;
  int32_t rows = batch * kept, rowsPerTask = 32768 / (heads * headSize) + 1;
  parallelFor((rows + rowsPerTask - 1) / rowsPerTask, [&](int32_t task) {
    for (int32_t row = task * rowsPerTask; row < (task + 1) * rowsPerTask && row < rows; row++) {
      int32_t b = row / kept, t = row % kept;
      for (int32_t h = 0; h < heads; h++) {
        const float* from = x + (((size_t)b * tokens + t) * heads + h) * headSize;
        size_t to = ((size_t)b * heads + h) * capacity + position + t;
        for (int32_t g = 0; g < groups; g++) {
          int32_t first = g * groupSize, n = headSize - first < groupSize ? headSize - first : groupSize;
          quantizeGroup(from + first, n, 127, codes + to * headSize + first, scale[to * groups + g]);
        }
      }
    }
  });
}

}  // namespace LOWBIT_ISA
