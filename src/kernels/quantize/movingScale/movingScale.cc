#include "simd.h"

namespace LOWBIT_ISA {

void movingScale(const float* scale, const float* next, float* y, float momentum, float complement) {
  float kept = momentum * *scale, added = *next * complement;
  *y = *scale == 1 ? *next : kept + added;
}

}  // namespace LOWBIT_ISA
