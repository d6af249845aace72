#include "simd.h"

namespace LOWBIT_ISA {

void valuesAt(const int32_t* x, const int32_t* starts, int32_t* y, int32_t batch, int32_t count,
              int32_t length) {
  for (int32_t b = 0; b < batch; b++) {
    for (int32_t i = 0; i < count; i++) {
      int32_t at = starts[b] + i;
      y[(size_t)b * count + i] = x[at < 0 ? 0 : at < length ? at : length - 1];
    }
  }
}

}  // namespace LOWBIT_ISA
