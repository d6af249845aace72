#include "../quantize/codes.h"
#include "simd.h"

namespace LOWBIT_ISA {

void scaleBy(const float* x, const float* factor, float* y, int32_t count) {
  float by = *factor;
  eachPiece(count, [&](int32_t i, int32_t end) {
    for (; i <= end - LANES; i += LANES) store(y + i, load(x + i) * by);
    if (i < end) storePartial(y + i, loadPartial(x + i, end - i) * by, end - i);
  });
}

}  // namespace LOWBIT_ISA
