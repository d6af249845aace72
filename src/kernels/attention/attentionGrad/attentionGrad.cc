#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

INLINE float attentionGradDot(const float* a, const float* b, int32_t n) {
  f32v sums = {};
  for (int32_t i = 0; i < n; i += LANES) sums = fma(loadUpTo(a + i, n - i), loadUpTo(b + i, n - i), sums);
  return sum(sums);
}

/* y += factor · x */
INLINE void attentionGradAdd(float* y, const float* x, float factor, int32_t n) {
  for (int32_t i = 0; i < n; i += LANES) storeUpTo(y + i, fma(splat(factor), loadUpTo(x + i, n - i), loadUpTo(y + i, n - i)), n - i);
}

/*
 * The queries of one head that share keys and values; scores are computed twice, so that no row of them has
 * to be kept.
 */
struct AttentionGradQuery {
  const float *k, *v;
  float *dk, *dv;
  int32_t headSize;
  float scale;

  void run(const float* q, const float* y, const float* dy, float* dq, int32_t keys) const {
    float max = -__builtin_inff();
    double total = 0;
    for (int32_t s = 0; s < keys; s++) {
      float score = scale * attentionGradDot(q, k + (size_t)s * headSize, headSize);
      if (score > max) {
        total *= exp(max - score);
        max = score;
      }
      total += exp(score - max);
    }
    float inverse = (float)(1 / total), delta = attentionGradDot(dy, y, headSize);
    for (int32_t i = 0; i < headSize; i++) dq[i] = 0;
    for (int32_t s = 0; s < keys; s++) {
      size_t at = (size_t)s * headSize;
      float p = exp(scale * attentionGradDot(q, k + at, headSize) - max) * inverse;
      float ds = scale * p * (attentionGradDot(dy, v + at, headSize) - delta);
      attentionGradAdd(dq, k + at, ds, headSize);
      attentionGradAdd(dk + at, q, ds, headSize);
      attentionGradAdd(dv + at, dy, p, headSize);
    }
  }
};

void attentionGrad(const float* q, const float* k, const float* v, const float* y, const float* dy, float* dq, float* dk, float* dv,
                   int32_t batch, int32_t tokens, int32_t heads, int32_t kvHeads, int32_t headSize, float scale) {
  int32_t group = heads / kvHeads;
  parallelFor(batch * kvHeads, [&](int32_t task) {
    int32_t b = task / kvHeads, kvHead = task % kvHeads;
    size_t keys = (size_t)task * tokens * headSize;
    __builtin_memset(dk + keys, 0, (size_t)tokens * headSize * sizeof(float));
    __builtin_memset(dv + keys, 0, (size_t)tokens * headSize * sizeof(float));
    AttentionGradQuery query{k + keys, v + keys, dk + keys, dv + keys, headSize, scale};
    for (int32_t h = kvHead * group; h < (kvHead + 1) * group; h++) {
      for (int32_t t = 0; t < tokens; t++) {
        size_t at = (((size_t)b * tokens + t) * heads + h) * headSize;
        query.run(q + at, y + at, dy + at, dq + at, t + 1);
      }
    }
  });
}

}  // namespace LOWBIT_ISA
