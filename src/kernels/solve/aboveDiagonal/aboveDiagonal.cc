#include "simd.h"

namespace LOWBIT_ISA {

void aboveDiagonal(float* x, int32_t cols) {
  int32_t rows = 65536 / (cols + 1) + 1;
  parallelFor((cols + rows - 1) / rows, [&](int32_t task) {
    for (int32_t i = task * rows; i < (task + 1) * rows && i < cols; i++)
      __builtin_memset(x + (size_t)i * cols, 0, ((size_t)i + 1) * sizeof(float));
  });
}

}  // namespace LOWBIT_ISA
