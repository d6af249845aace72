#include "../attention/positions.h"

namespace LOWBIT_ISA {

/* Pairs (i, i + half) of one head. */
INLINE void ropeHalves(const float* x, const float* c, const float* s, float* y, int32_t half) {
  int32_t i = 0;
  for (; i + LANES <= half; i += LANES) {
    f32v a = load(x + i), b = load(x + half + i), cosine = load(c + i), sine = load(s + i);
    store(y + i, a * cosine - b * sine);
    store(y + half + i, b * cosine + a * sine);
  }
  for (; i < half; i++) {
    float a = x[i], b = x[half + i];
    y[i] = a * c[i] - b * s[i];
    y[half + i] = b * c[i] + a * s[i];
  }
}

/* Pairs (2i, 2i + 1). */
INLINE void ropeNeighbours(const float* x, const float* c, const float* s, float* y, int32_t half) {
  for (int32_t i = 0; i < half; i++) {
    float a = x[2 * i], b = x[2 * i + 1];
    y[2 * i] = a * c[i] - b * s[i];
    y[2 * i + 1] = b * c[i] + a * s[i];
  }
}

void rope(const float* x, const float* cos, const float* sin, const int32_t* positions, float* y,
          int32_t batch, int32_t tokens, int32_t heads, int32_t headSize, int32_t rotaryDim,
          int32_t interleaved, int32_t position, int32_t rows) {
  int32_t half = rotaryDim / 2, count = batch * tokens;
  int32_t tokensPerTask = 65536 / (heads * headSize) + 1;
  parallelFor((count + tokensPerTask - 1) / tokensPerTask, [&](int32_t task) {
    for (int32_t token = task * tokensPerTask; token < (task + 1) * tokensPerTask && token < count; token++) {
      int32_t row = firstPosition(position, positions, token / tokens) + token % tokens;
      int32_t turned = row >= 0 && row < rows ? rotaryDim : 0;
      size_t angles = turned ? (size_t)row * half : 0;
      const float *c = cos + angles, *s = sin + angles;
      for (int32_t head = 0; head < heads; head++) {
        size_t at = ((size_t)token * heads + head) * headSize;
        if (interleaved) ropeNeighbours(x + at, c, s, y + at, turned / 2);
        else ropeHalves(x + at, c, s, y + at, turned / 2);
        for (int32_t i = turned; i < headSize; i++) y[at + i] = x[at + i];
      }
    }
  });
}

}  // namespace LOWBIT_ISA
