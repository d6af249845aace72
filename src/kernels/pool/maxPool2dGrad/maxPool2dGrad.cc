#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void maxPool2dGrad(const int32_t* indices, const float* dy, float* dx, int32_t planes, int32_t inSize,
                   int32_t outSize) {
  eachRow(planes, inSize, [&](int32_t p) {
    float* plane = dx + (size_t)p * inSize;
    __builtin_memset(plane, 0, (size_t)inSize * sizeof(float));
    for (size_t o = (size_t)p * outSize; o < (size_t)(p + 1) * outSize; o++)
      if (indices[o] >= 0) plane[indices[o]] += dy[o];
  });
}

}  // namespace LOWBIT_ISA
