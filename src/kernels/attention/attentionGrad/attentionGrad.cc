#include "../../reduce/reduce/row.h"
#include "../attention/rows.h"

namespace LOWBIT_ISA {

INLINE float attentionGradDot(const float* a, const float* b, int32_t n) {
  f32v sums = {};
  for (int32_t i = 0; i < n; i += LANES) sums = fma(loadUpTo(a + i, n - i), loadUpTo(b + i, n - i), sums);
  return sum(sums);
}

/* y += factor · x */
INLINE void attentionGradAdd(float* y, const float* x, float factor, int32_t n) {
  for (int32_t i = 0; i < n; i += LANES)
    storeUpTo(y + i, fma(splat(factor), loadUpTo(x + i, n - i), loadUpTo(y + i, n - i)), n - i);
}

/*
 * The queries of one head that share keys and values; scores are computed twice, so that no row of them has
 * to be kept.
 */
struct AttentionGradQuery {
  const float *k, *v;
  float *dk, *dv;
  int32_t headSize;
  float scale, softcap;

  /* The capped score of key s, and how fast it grows with scale · q · k. */
  float score(const float* q, int32_t s, float& slope) const {
    float plain = scale * attentionGradDot(q, k + (size_t)s * headSize, headSize);
    slope = 1;
    if (softcap == 0) return plain;
    float share = tanh(plain / softcap);
    slope = 1 - share * share;
    return softcap * share;
  }

  /* The keys from first to before end, with a sink or −∞; bias of key 0, or none. */
  void run(const float* q, const float* y, const float* dy, const float* bias, float sink, float* dq,
           int32_t first, int32_t end) const {
    float max = sink <= -3.40282347e38f ? -3.40282347e38f : sink, slope;
    double total = exp(sink - max);
    for (int32_t s = first; s < end; s++) {
      float one = score(q, s, slope) + (bias ? bias[s] : 0);
      if (one > max) {
        total *= exp(max - one);
        max = one;
      }
      total += exp(one - max);
    }
    for (int32_t i = 0; i < headSize; i++) dq[i] = 0;
    if (total == 0) return;
    float inverse = (float)(1 / total), delta = attentionGradDot(dy, y, headSize);
    for (int32_t s = first; s < end; s++) {
      size_t at = (size_t)s * headSize;
      float one = score(q, s, slope) + (bias ? bias[s] : 0);
      float p = exp(one - max) * inverse;
      float ds = scale * slope * p * (attentionGradDot(dy, v + at, headSize) - delta);
      attentionGradAdd(dq, k + at, ds, headSize);
      attentionGradAdd(dk + at, q, ds, headSize);
      attentionGradAdd(dv + at, dy, p, headSize);
    }
  }
};

void attentionGrad(const float* q, const float* k, const float* v, const float* y, const float* bias,
                   const int32_t* ranges, const float* sinks, const float* dy, float* dq, float* dk, float* dv,
                   int32_t batch, int32_t tokens, int32_t heads, int32_t kvHeads, int32_t headSize,
                   int32_t capacity, int32_t causal, int32_t window, int32_t biasBatch, int32_t biasHead,
                   int32_t biasToken, float scale, float softcap) {
  int32_t group = heads / kvHeads;
  parallelFor(batch * kvHeads, [&](int32_t task) {
    int32_t b = task / kvHeads, kvHead = task % kvHeads;
    size_t keys = (size_t)task * capacity * headSize;
    __builtin_memset(dk + keys, 0, (size_t)capacity * headSize * sizeof(float));
    __builtin_memset(dv + keys, 0, (size_t)capacity * headSize * sizeof(float));
    AttentionGradQuery query{k + keys, v + keys, dk + keys, dv + keys, headSize, scale, softcap};
    AttentionSpan span = attentionSpan(ranges ? ranges + 2 * b : nullptr, capacity, causal, window, 0, 1);
    for (int32_t h = kvHead * group; h < (kvHead + 1) * group; h++) {
      float sink = sinks ? sinks[h] : -__builtin_inff();
      for (int32_t t = 0; t < tokens; t++) {
        size_t at = (((size_t)b * tokens + t) * heads + h) * headSize;
        const float* row =
            bias ? bias + (size_t)b * biasBatch + (size_t)h * biasHead + (size_t)t * biasToken : nullptr;
        query.run(q + at, y + at, dy + at, row, sink, dq + at, span.first(t), span.end(t));
      }
    }
  });
}

}  // namespace LOWBIT_ISA
