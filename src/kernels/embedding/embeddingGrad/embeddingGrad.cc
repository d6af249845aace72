#include "simd.h"

namespace LOWBIT_ISA {

void embeddingGrad(const int32_t* ids, const float* dy, float* dtable, int32_t count, int32_t vocabulary,
                   int32_t cols) {
  /* Every task owns some rows of the table and adds, in the order of ids, what belongs there. */
  int32_t rowsPerTask = (vocabulary + 15) / 16;
  parallelFor((vocabulary + rowsPerTask - 1) / rowsPerTask, [&](int32_t task) {
    int32_t first = task * rowsPerTask;
    int32_t last = vocabulary - first < rowsPerTask ? vocabulary : first + rowsPerTask;
    __builtin_memset(dtable + (size_t)first * cols, 0, (size_t)(last - first) * cols * sizeof(float));
    for (int32_t i = 0; i < count; i++) {
      if (ids[i] < first || ids[i] >= last) continue;
      float* row = dtable + (size_t)ids[i] * cols;
      const float* from = dy + (size_t)i * cols;
      for (int32_t c = 0; c < cols; c += LANES)
        storeUpTo(row + c, loadUpTo(row + c, cols - c) + loadUpTo(from + c, cols - c), cols - c);
    }
  });
}

}  // namespace LOWBIT_ISA
