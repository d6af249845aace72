#include "../unary/elements.h"
#include "../unary/normal.h"
#include "../unary/sigmoid.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* slope(x, y, dy) gives dx. */
template <class F>
INLINE void unaryGradApply(const float* x, const float* y, const float* dy, float* dx, int32_t count, F f) {
  eachVector(count, [&](int32_t i, int32_t n) {
    storeUpTo(dx + i, f(loadUpTo(x + i, n), loadUpTo(y + i, n), loadUpTo(dy + i, n)), n);
  });
}

INLINE f32v geluSlope(f32v x) {
  f32v bell = exp(x * x * -0.5f);
  return normalCdf(x, bell) + x * bell * 0.39894228f;
}

INLINE f32v geluTanhSlope(f32v x) {
  f32v u2 = 2.0f * tanhGeluSlope(x);
  f32v s = sigmoid(u2);
  f32v inner = fma(x * x, splat(0.21406445f), splat(1.5957691f));
  /* Far out x² overflows, but the product vanishes (for an infinite x it is NaN, as in PyTorch). */
  f32v rise = select(abs(x) > 15.0f, 0.0f * x, x * s * sigmoid(-u2) * inner);
  return s + rise;
}

void unaryGrad(int32_t op, const float* x, const float* y, const float* dy, float* dx, int32_t count) {
  switch (op) {
    case 0: return unaryGradApply(x, y, dy, dx, count, [](f32v, f32v, f32v dy) { return -dy; });
    case 1: return unaryGradApply(x, y, dy, dx, count, [](f32v x, f32v, f32v dy) {
      return dy * select(x > 0.0f, splat(1.0f), select(x < 0.0f, splat(-1.0f), x));
    });
    case 2: return unaryGradApply(x, y, dy, dx, count, [](f32v, f32v y, f32v dy) { return dy * y; });
    case 3: return unaryGradApply(x, y, dy, dx, count, [](f32v, f32v y, f32v dy) { return dy / (2.0f * y); });
    case 4:
      return unaryGradApply(x, y, dy, dx, count,
                            [](f32v x, f32v, f32v dy) { return select(x <= 0.0f, splat(0.0f), dy); });
    case 5:
      return unaryGradApply(x, y, dy, dx, count, [](f32v x, f32v, f32v dy) {
        return dy * (sigmoid(x) * (1.0f + x * sigmoid(-x)));
      });
    case 6:
      return unaryGradApply(x, y, dy, dx, count, [](f32v, f32v y, f32v dy) { return dy * (y * (1.0f - y)); });
    case 7:
      return unaryGradApply(x, y, dy, dx, count,
                            [](f32v, f32v y, f32v dy) { return dy * ((1.0f - y) * (1.0f + y)); });
    case 8:
      return unaryGradApply(x, y, dy, dx, count, [](f32v x, f32v, f32v dy) { return dy * geluSlope(x); });
    case 9:
      return unaryGradApply(x, y, dy, dx, count, [](f32v x, f32v, f32v dy) { return dy * geluTanhSlope(x); });
    case 10: return unaryGradApply(x, y, dy, dx, count, [](f32v x, f32v, f32v dy) { return dy / x; });
    default: __builtin_trap();
  }
}

}  // namespace LOWBIT_ISA
