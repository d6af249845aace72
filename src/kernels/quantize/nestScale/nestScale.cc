#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* What nestScale.ts says of sumInVectors: the order of the additions decides the last bits. */
template <int lanes> static float sumInVectors(const float* x, int32_t count) {
  constexpr int width = 4 * lanes;
  int32_t rounds = count / width, power = 4;
  while ((int64_t)1 << (4 * power + 3) < rounds) power++;
  float levels[4][width] = {};
  for (int32_t round = 1; round <= rounds; round++) {
    for (int i = 0; i < width; i++) levels[0][i] += x[(size_t)(round - 1) * width + i];
    for (int level = 1; level < 4 && (round & (((int64_t)1 << (level * power)) - 1)) == 0; level++) {
      for (int i = 0; i < width; i++) {
        levels[level][i] += levels[level - 1][i];
        levels[level - 1][i] = 0;
      }
    }
  }
  float* sums = levels[0];
  for (int level = 1; level < 4; level++)
    for (int i = 0; i < width; i++) sums[i] += levels[level][i];
  int32_t vectors = count / lanes;
  for (int32_t v = 4 * rounds; v < vectors; v++)
    for (int i = 0; i < lanes; i++) sums[i] += x[v * lanes + i];
  for (int k = 1; k < 4; k++)
    for (int i = 0; i < lanes; i++) sums[i] += sums[k * lanes + i];
  float sum = 0;
  for (int32_t i = vectors * lanes; i < count; i++) sum += x[i];
  for (int i = 0; i < lanes; i++) sum += sums[i];
  return sum;
}

/* The first of 256 codes whose bound to the next is not below the middle of the place of unit; 0 for NaN. */
static uint8_t nearest(const float* codebook, float unit) {
  if (unit != unit) return 0;
  float inside = unit < -1 ? -1 : unit > 1 ? 1 : unit;
  int32_t place = (int32_t)((inside + 1) / 2 * 65535 + 0.5f);
  float middle = (float)(2 * place) / 65535 - 1;
  int32_t code = 0;
  for (int32_t step = 128; step > 0; step >>= 1) {
    int32_t next = code + step;
    if ((codebook[next - 1] + codebook[next]) / 2 < middle) code = next;
  }
  return (uint8_t)code;
}

void nestScale(const float* scale, const float* codebook, uint8_t* codes, float* values, float* offset,
               int32_t count, int32_t blockSize) {
  float mean = (count < 8 ? sumInVectors<1>(scale, count) : sumInVectors<8>(scale, count)) / (float)count;
  *offset = mean;
  eachRow((int32_t)(((int64_t)count + blockSize - 1) / blockSize), blockSize, [&](int32_t block) {
    int32_t first = block * blockSize;
    int32_t cols = count - first < blockSize ? count - first : blockSize;
    float largest =
        rowMax(cols, [&](int32_t c, int32_t n) { return abs(loadUpTo(scale + first + c, n) - mean); });
    values[block] = largest;
    float inverse = 1 / largest;
    for (int32_t i = first; i < first + cols; i++)
      codes[i] = largest == 0 ? 0 : nearest(codebook, (scale[i] - mean) * inverse);
  });
}

}  // namespace LOWBIT_ISA
