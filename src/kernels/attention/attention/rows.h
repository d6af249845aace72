#pragma once
#include "../../elementwise/unary/tanh.h"
#include "positions.h"
#include "tokens.h"

namespace LOWBIT_ISA {

/*
 * The keys that tokens see: token t those from low, and from slidingLow + t · step, to before high, and
 * before slidingHigh + t · step.
 */
struct AttentionSpan {
  int32_t low, high, slidingLow, slidingHigh, step;

  int32_t first(int32_t token) const {
    int32_t sliding = slidingLow + token * step;
    return sliding > low ? sliding : low;
  }
  int32_t end(int32_t token) const {
    int32_t sliding = slidingHigh + token * step;
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
 * What tokens see, the first of which stands at `position`; range [2] of the sequence, or all keys. Causal, the
 * keys up to the token's own, with a window the last of them.
 */
static inline AttentionSpan attentionSpan(const int32_t* range, int32_t capacity, int32_t causal,
                                          int32_t window, int32_t position) {
  constexpr int32_t far = 1 << 30;
  AttentionSpan span = {0, capacity, -far, far, 0};
  if (range) {
    if (range[0] > 0) span.low = range[0];
    if (range[1] < capacity) span.high = range[1];
  }
  if (causal) {
    span.slidingHigh = position + 1;
    if (window > 0) span.slidingLow = span.slidingHigh - window;
    span.step = 1;
  }
  return span;
}

/*
 * Queries that share keys and values: of consecutive tokens the heads of a group, which lie side by side. Row r
 * is head r mod heads of token r / heads.
 */
struct AttentionRows {
  const float* q;
  float* y;
  size_t stride;     /* between tokens of q and of y */
  const float* bias; /* of the first token, its first head and key 0; may be absent */
  size_t biasToken, biasHead;
  const float* sinks; /* of the first head; may be absent */
  int32_t tokens, heads, headSize;
  float scale, softcap;

  int32_t rows() const { return tokens * heads; }
  int32_t token(int32_t row) const { return row / heads; }
  /* Where a row of q and of y starts. */
  size_t at(int32_t row) const { return row / heads * stride + (size_t)(row % heads) * headSize; }
  size_t biasAt(int32_t row) const { return row / heads * biasToken + row % heads * biasHead; }
  /* What q · k is multiplied by, and what that becomes. */
  float factor() const { return softcap != 0 ? scale / softcap : scale; }
  f32v score(f32v scaled) const { return softcap != 0 ? tanh(scaled) * softcap : scaled; }
  float sink(int32_t row) const { return sinks ? sinks[row % heads] : -__builtin_inff(); }

  /* These, from token t and its head h on. */
  AttentionRows part(int32_t t, int32_t tokensHere, int32_t h, int32_t headsHere) const {
    AttentionRows part = *this;
    size_t from = t * stride + (size_t)h * headSize;
    part.q += from;
    part.y += from;
    if (bias) part.bias += t * biasToken + h * biasHead;
    if (sinks) part.sinks += h;
    part.tokens = tokensHere;
    part.heads = headsHere;
    return part;
  }
};

/* Not −∞, where the running softmax starts: a block of scores that all are would give ∞ - ∞. */
INLINE float attentionStart(float sink) { return sink <= -3.40282347e38f ? -3.40282347e38f : sink; }

/* Whether some token sees not all of the keys from `first` on. */
INLINE bool partlySeen(const AttentionRows& a, const AttentionSpan& span, int32_t first, int32_t keys) {
  return span.first(a.tokens - 1) > first || span.end(0) < first + keys;
}

/* body(first, keys) for the keys that rows see, ATTENTION_KEYS at a time. */
template <class Body>
INLINE void eachKeys(const AttentionRows& a, const AttentionSpan& span, const Body& body) {
  int32_t end = span.end(a.tokens - 1);
  for (int32_t first = span.first(0); first < end; first += ATTENTION_KEYS)
    body(first, end - first < ATTENTION_KEYS ? end - first : ATTENTION_KEYS);
}

/* body(i, depth) for the columns of a head, PANEL_DEPTH at a time. */
template <class Body> INLINE void eachDepth(int32_t headSize, const Body& body) {
  for (int32_t i = 0; i < headSize; i += PANEL_DEPTH)
    body(i, headSize - i < PANEL_DEPTH ? headSize - i : PANEL_DEPTH);
}

}  // namespace LOWBIT_ISA
