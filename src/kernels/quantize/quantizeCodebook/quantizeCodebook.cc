#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void quantizeCodebook(const void* x, int32_t dtype, const float* codebook, uint8_t* codes, float* scale,
                      int32_t count, int32_t blockSize) {
  /* Codes in the order of their values, and where one ends and the next begins. */
  uint8_t order[16];
  float bounds[15];
  for (int32_t code = 0; code < 16; code++) {
    int32_t place = code;
    for (; place > 0 && codebook[order[place - 1]] > codebook[code]; place--) order[place] = order[place - 1];
    order[place] = code;
  }
  for (int32_t i = 0; i < 15; i++) bounds[i] = (codebook[order[i]] + codebook[order[i + 1]]) / 2;
  const float least = 1e-38f;
  withWeightFloat(dtype, [&](auto type) {
    constexpr int xType = decltype(type)::value;
    eachRow((int32_t)(((int64_t)count + blockSize - 1) / blockSize), blockSize, [&](int32_t block) {
      size_t start = (size_t)block * blockSize;
      int32_t cols = count - start < (size_t)blockSize ? (int32_t)(count - start) : blockSize;
      bool whole = cols == blockSize;
      auto values = [&](int32_t c, int32_t n) {
        return n == LANES ? loadFloat<xType>(x, start + c) : loadFloatPartial(x, dtype, start + c, n);
      };
      float largest = rowAbsMax(cols, values);
      float divisor = largest < least ? least : largest, inverse = 1 / divisor;
      scale[block] = whole ? largest : divisor;
      for (int32_t c = 0; c < cols; c += LANES) {
        int32_t n = cols - c < LANES ? cols - c : LANES;
        f32v v = values(c, n);
        f32v unit = whole ? v * inverse : v / divisor;
        /* A bound that it is not up to counts, so that NaN comes last. */
        i32v place = splat(15);
        for (int32_t i = 0; i < 15; i++) place += unit <= bounds[i];
        for (int32_t i = 0; i < n; i++) codes[start + c + i] = order[place[i]];
      }
    });
  });
}

}  // namespace LOWBIT_ISA
