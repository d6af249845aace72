#include "../attention/positions.h"

namespace LOWBIT_ISA {

void cacheWrite(const float* x, float* cache, const int32_t* positions, int32_t batch, int32_t tokens,
                int32_t heads, int32_t headSize, int32_t position, int32_t capacity) {
  int32_t rows = batch * tokens;
  int32_t rowsPerTask = 65536 / (heads * headSize) + 1;
  parallelFor((rows + rowsPerTask - 1) / rowsPerTask, [&](int32_t task) {
    for (int32_t row = task * rowsPerTask; row < (task + 1) * rowsPerTask && row < rows; row++) {
      int32_t b = row / tokens, t = row % tokens;
      int32_t first = firstPosition(position, positions, b);
      /* A later token of this call takes its place, or the sequence is left out. */
      if (t < tokens - capacity || first < 0) continue;
      for (int32_t head = 0; head < heads; head++) {
        const float* from = x + ((size_t)row * heads + head) * headSize;
        float* to = cache + (((size_t)b * heads + head) * capacity + (first + t) % capacity) * headSize;
        int32_t i = 0;
        for (; i + LANES <= headSize; i += LANES) store(to + i, load(from + i));
        for (; i < headSize; i++) to[i] = from[i];
      }
    }
  });
}

}  // namespace LOWBIT_ISA
