#include "simd.h"

namespace LOWBIT_ISA {

template <int dtype> static void embeddingRow(const void* table, size_t from, float* y, int32_t cols) {
  int32_t i = 0;
  for (; i + LANES <= cols; i += LANES) store(y + i, loadFloat<dtype>(table, from + i));
  for (; i < cols; i++) y[i] = readFloat(table, dtype, from + i);
}

void embedding(const void* table, int32_t tableDtype, const int32_t* ids, float* y, int32_t count,
               int32_t cols) {
  int32_t rowsPerTask = 65536 / cols + 1;
  withFloat(tableDtype, [&](auto type) {
    constexpr int dtype = decltype(type)::value;
    parallelFor((count + rowsPerTask - 1) / rowsPerTask, [&](int32_t task) {
      for (int32_t row = task * rowsPerTask; row < (task + 1) * rowsPerTask && row < count; row++) {
        embeddingRow<dtype>(table, (size_t)ids[row] * cols, y + (size_t)row * cols, cols);
      }
    });
  });
}

}  // namespace LOWBIT_ISA
