#include "../attention/positions.h"

namespace LOWBIT_ISA {

/* cache[to …] = n values x in its dtype. */
static void roundRow(const float* x, void* cache, int32_t dtype, size_t to, int32_t n) {
  withFloat(dtype, [&](auto type) {
    constexpr int dtype = decltype(type)::value;
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES) storeFloat<dtype>(cache, to + i, load(x + i));
    if (i < n) storeFloatPartial(cache, dtype, to + i, loadPartial(x + i, n - i), n - i);
  });
}

void cacheWrite(const void* x, int32_t xDtype, void* cache, int32_t dtype, const int32_t* positions,
                int32_t batch, int32_t tokens, int32_t heads, int32_t headSize, int32_t position,
                int32_t capacity) {
  int32_t rows = batch * tokens;
  int32_t rowsPerTask = 65536 / (heads * headSize) + 1;
  parallelFor((rows + rowsPerTask - 1) / rowsPerTask, [&](int32_t task) {
    for (int32_t row = task * rowsPerTask; row < (task + 1) * rowsPerTask && row < rows; row++) {
      int32_t b = row / tokens, t = row % tokens;
      int32_t first = firstPosition(position, positions, b);
      /* A later token of this call takes its place, or the sequence is left out. */
      if (t < tokens - capacity || first < 0) continue;
      for (int32_t head = 0; head < heads; head++) {
        size_t from = ((size_t)row * heads + head) * headSize;
        size_t to = (((size_t)b * heads + head) * capacity + (first + t) % capacity) * headSize;
        if (xDtype == dtype) {
          size_t bytes = bytesOf(dtype);
          __builtin_memcpy((uint8_t*)cache + to * bytes, (const uint8_t*)x + from * bytes, headSize * bytes);
        } else {
          roundRow((const float*)x + from, cache, dtype, to, headSize);
        }
      }
    }
  });
}

}  // namespace LOWBIT_ISA
