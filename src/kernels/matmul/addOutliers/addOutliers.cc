#include "simd.h"

namespace LOWBIT_ISA {

/* Columns of outliers that are looked up at a time. */
constexpr int32_t outliersAtOnce = 64;

void addOutliers(const float* x, const uint8_t* outliers, const uint8_t* w, const float* scale, float* y,
                 int32_t M, int32_t N, int32_t K) {
  size_t tileBytes = (size_t)((K + 3) / 4) * 64;
  parallelFor((N + 15) / 16, [&](int32_t tile) {
    const uint8_t* codes = w + tile * tileBytes;
    int32_t first = tile * 16, rows = N - first < 16 ? N - first : 16;
    int32_t columns[outliersAtOnce], next = 0;
    while (next < K) {
      int32_t count = 0;
      for (; next < K && count < outliersAtOnce; next++)
        if (outliers[next]) columns[count++] = next;
      for (int32_t m = 0; m < M && count > 0; m++) {
        float sums[16] = {};
        for (int32_t i = 0; i < count; i++) {
          int32_t k = columns[i];
          float value = x[(size_t)m * K + k];
          // Column k of row r is byte k mod 4 of a word; the words of 16 rows stand side by side.
          const uint8_t* column = codes + (size_t)(k / 4) * 64 + k % 4;
          for (int r = 0; r < 16; r++) sums[r] += value * (float)(int8_t)column[4 * r];
        }
        for (int32_t r = 0; r < rows; r++) y[(size_t)m * N + first + r] += scale[first + r] * sums[r];
      }
    }
  });
}

}  // namespace LOWBIT_ISA
