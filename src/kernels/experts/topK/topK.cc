#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* Whether a is before b among the largest values. */
static bool topKBefore(float a, float b) { return a > b || (a != a && b == b); }

void topK(const float* x, float* values, int32_t* indices, uint8_t* others, int32_t rows, int32_t cols,
          int32_t k) {
  eachRow(rows, cols, [&](int32_t r) {
    const float* row = x + (size_t)r * cols;
    if (others) for (int32_t c = 0; c < cols; c++) others[(size_t)r * cols + c] = 1;
    /* Each is the first of the largest behind the one before: a few passes over a few hundred values. */
    int32_t last = -1;
    for (int32_t i = 0; i < k; i++) {
      int32_t best = -1;
      for (int32_t c = 0; c < cols; c++) {
        bool taken = last >= 0 && (topKBefore(row[c], row[last]) || (!topKBefore(row[last], row[c]) && c <= last));
        if (!taken && (best < 0 || topKBefore(row[c], row[best]))) best = c;
      }
      if (values) values[(size_t)r * k + i] = row[best];
      if (indices) indices[(size_t)r * k + i] = best;
      if (others) others[(size_t)r * cols + best] = 0;
      last = best;
    }
  });
}

}  // namespace LOWBIT_ISA
