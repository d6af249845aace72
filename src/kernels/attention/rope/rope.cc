#include "simd.h"

namespace LOWBIT_ISA {

void rope(const float* x, const float* cos, const float* sin, float* y, int32_t batch, int32_t tokens, int32_t heads, int32_t headSize,
          int32_t position) {
  int32_t half = headSize / 2, rows = batch * tokens;
  int32_t rowsPerTask = 65536 / (heads * headSize) + 1;
  parallelFor((rows + rowsPerTask - 1) / rowsPerTask, [&](int32_t task) {
    for (int32_t row = task * rowsPerTask; row < (task + 1) * rowsPerTask && row < rows; row++) {
      const float* c = cos + (size_t)(position + row % tokens) * half;
      const float* s = sin + (size_t)(position + row % tokens) * half;
      for (int32_t head = 0; head < heads; head++) {
        size_t at = ((size_t)row * heads + head) * headSize;
        const float* from = x + at;
        float* to = y + at;
        int32_t i = 0;
        for (; i + LANES <= half; i += LANES) {
          f32v a = load(from + i), b = load(from + half + i), cosine = load(c + i), sine = load(s + i);
          store(to + i, a * cosine - b * sine);
          store(to + half + i, b * cosine + a * sine);
        }
        for (; i < half; i++) {
          float a = from[i], b = from[half + i];
          to[i] = a * c[i] - b * s[i];
          to[half + i] = b * c[i] + a * s[i];
        }
      }
    }
  });
}

}  // namespace LOWBIT_ISA
