#pragma once
#include "../../elementwise/unary/tanh.h"
#include "positions.h"
#include "tokens.h"

namespace LOWBIT_ISA {

/*
 * The keys that rows of queries see: row r those from low, and from slidingLow + r · step, to before high,
 * and before slidingHigh + r · step.
 */
struct AttentionSpan {
  int32_t low, high, slidingLow, slidingHigh, step;

  int32_t first(int32_t row) const {
    int32_t sliding = slidingLow + row * step;
    return sliding > low ? sliding : low;
  }
  int32_t end(int32_t row) const {
    int32_t sliding = slidingHigh + row * step;
    return sliding < high ? sliding : high;
  }
  /* Of these, the keys from `from` to before `to`. */
  AttentionSpan within(int32_t from, int32_t to) const {
    return {low > from ? low : from, high < to ? high : to, slidingLow, slidingHigh, step};
  }
  /* Of these, the keys from `from` to before `to`, which slide along. */
  AttentionSpan sliding(int32_t from, int32_t to) const {
    return {low, high, slidingLow > from ? slidingLow : from, slidingHigh < to ? slidingHigh : to, step};
  }
};

/*
 * What rows see, the first of which stands at `position`; range [2] of the sequence, or all keys. Causal, the
 * keys up to the row's own, with a window the last of them.
 */
static inline AttentionSpan attentionSpan(const int32_t* range, int32_t capacity, int32_t causal,
                                          int32_t window, int32_t position, int32_t step) {
  constexpr int32_t far = 1 << 30;
  AttentionSpan span = {0, capacity, -far, far, 0};
  if (range) {
    if (range[0] > 0) span.low = range[0];
    if (range[1] < capacity) span.high = range[1];
  }
  if (causal) {
    span.slidingHigh = position + 1;
    if (window > 0) span.slidingLow = span.slidingHigh - window;
    span.step = step;
  }
  return span;
}

/*
 * Rows of queries that share keys and values: consecutive tokens of one head, or the heads of one group for a
 * single token.
 */
struct AttentionRows {
  const float* q;
  float* y;
  size_t stride;     /* between rows of q and of y */
  const float* bias; /* of row 0 and key 0; may be absent */
  size_t biasStride;
  const float* sinks; /* of row 0; may be absent */
  size_t sinkStride;
  int32_t rows, headSize;
  float scale, softcap;
};

/* Not −∞, where the running softmax starts: a block of scores that all are would give ∞ - ∞. */
INLINE float attentionStart(float sink) { return sink <= -3.40282347e38f ? -3.40282347e38f : sink; }

INLINE float sinkOf(const AttentionRows& a, int32_t row) {
  return a.sinks ? a.sinks[row * a.sinkStride] : -__builtin_inff();
}

/* What products of q and k become before a bias. */
INLINE f32v attentionScore(const AttentionRows& a, f32v product) {
  f32v score = product * a.scale;
  return a.softcap != 0 ? tanh(score / a.softcap) * a.softcap : score;
}

/* Whether some row sees not all of the keys from `first` on. */
INLINE bool partlySeen(const AttentionRows& a, const AttentionSpan& span, int32_t first, int32_t keys) {
  return span.first(a.rows - 1) > first || span.end(0) < first + keys;
}

/* body(first, keys) for the keys that rows see, ATTENTION_KEYS at a time. */
template <class Body>
INLINE void eachKeys(const AttentionRows& a, const AttentionSpan& span, const Body& body) {
  int32_t end = span.end(a.rows - 1);
  for (int32_t first = span.first(0); first < end; first += ATTENTION_KEYS)
    body(first, end - first < ATTENTION_KEYS ? end - first : ATTENTION_KEYS);
}

/* body(i, depth) for the columns of a head, PANEL_DEPTH at a time. */
template <class Body> INLINE void eachDepth(int32_t headSize, const Body& body) {
  for (int32_t i = 0; i < headSize; i += PANEL_DEPTH)
    body(i, headSize - i < PANEL_DEPTH ? headSize - i : PANEL_DEPTH);
}

}  // namespace LOWBIT_ISA
