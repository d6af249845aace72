#include "../unary/elements.h"
#include "../unary/normal.h"
#include "../unary/sigmoid.h"
#include "../unary/tanh.h"
#include "simd.h"

namespace LOWBIT_ISA {

template <class F> INLINE void unaryApply(const float* x, float* y, int32_t count, F f) {
  eachVector(count, [&](int32_t i, int32_t n) { storeUpTo(y + i, f(loadUpTo(x + i, n)), n); });
}

void unary(int32_t op, const float* x, float* y, int32_t count) {
  switch (op) {
    case 0: return unaryApply(x, y, count, [](f32v x) { return -x; });
    case 1: return unaryApply(x, y, count, [](f32v x) { return abs(x); });
    case 2: return unaryApply(x, y, count, [](f32v x) { return exp(x); });
    case 3: return unaryApply(x, y, count, [](f32v x) { return sqrt(x); });
    case 4: return unaryApply(x, y, count, [](f32v x) { return select(x < 0.0f, splat(0.0f), x); });
    case 5: return unaryApply(x, y, count, [](f32v x) { return x * sigmoid(x); });
    case 6: return unaryApply(x, y, count, [](f32v x) { return sigmoid(x); });
    case 7: return unaryApply(x, y, count, [](f32v x) { return tanh(x); });
    case 8: return unaryApply(x, y, count, [](f32v x) { return x * normalCdf(x); });
    case 9: return unaryApply(x, y, count, [](f32v x) { return x * sigmoid(2.0f * tanhGeluSlope(x)); });
    case 10: return unaryApply(x, y, count, [](f32v x) {
      for (int i = 0; i < LANES; i++) x[i] = (float)log((double)x[i]);
      return x;
    });
    default: __builtin_trap();
  }
}

}  // namespace LOWBIT_ISA
