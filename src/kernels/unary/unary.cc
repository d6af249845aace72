#include "../unary/sigmoid.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* Values per task. */
constexpr int32_t unaryPiece = 1 << 14;

/* Below 1 a quotient of polynomials (Lambert's continued fraction to its seventh term, within 1e-9), above it 1 - 2 / (e^2|x| + 1). */
INLINE f32v unaryTanh(f32v x) {
  f32v size = abs(x), x2 = x * x;
  f32v over = ((x2 + 378.0f) * x2 + 17325.0f) * x2 + 135135.0f;
  f32v under = ((x2 * 28.0f + 3150.0f) * x2 + 62370.0f) * x2 + 135135.0f;
  f32v large = 1.0f - 2.0f / (exp(size + size) + 1.0f);
  large = floatOf(bitsOf(large) | (bitsOf(x) & 0x80000000u));
  return select(size < 1.0f, x * (over / under), large);
}

template <class F> INLINE void unaryApply(const float* x, float* y, int32_t count, F f) {
  parallelFor((int32_t)(((int64_t)count + unaryPiece - 1) / unaryPiece), [&](int32_t piece) {
    int32_t i = piece * unaryPiece;
    int32_t end = count - i < unaryPiece ? count : i + unaryPiece;
    for (; i <= end - LANES; i += LANES) store(y + i, f(load(x + i)));
    if (i < end) storePartial(y + i, f(loadPartial(x + i, end - i)), end - i);
  });
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
    case 7: return unaryApply(x, y, count, [](f32v x) { return unaryTanh(x); });
  }
}

}  // namespace LOWBIT_ISA
