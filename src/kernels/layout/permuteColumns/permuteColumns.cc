#include "simd.h"

namespace LOWBIT_ISA {

template <class T>
static void permuteColumnsOf(const T* x, const int32_t* order, T* y, int32_t rows, int32_t cols,
                             int32_t back) {
  int32_t perTask = 16384 / cols + 1;
  parallelFor((rows + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t r = task * perTask; r < (task + 1) * perTask && r < rows; r++) {
      const T* from = x + (size_t)r * cols;
      T* to = y + (size_t)r * cols;
      for (int32_t j = 0; j < cols; j++) {
        int32_t at = order[j];
        if (at < 0 || at >= cols) continue;
        if (back) to[at] = from[j];
        else to[j] = from[at];
      }
    }
  });
}

void permuteColumns(const uint8_t* x, const int32_t* order, uint8_t* y, int32_t bytes, int32_t rows,
                    int32_t cols, int32_t back) {
  switch (bytes) {
    case 1: return permuteColumnsOf(x, order, y, rows, cols, back);
    case 2: return permuteColumnsOf((const uint16_t*)x, order, (uint16_t*)y, rows, cols, back);
    case 4: return permuteColumnsOf((const uint32_t*)x, order, (uint32_t*)y, rows, cols, back);
    case 8: return permuteColumnsOf((const uint64_t*)x, order, (uint64_t*)y, rows, cols, back);
    default: __builtin_trap();
  }
}

}  // namespace LOWBIT_ISA
