#pragma once
#include "fewRows.h"
#include "manyRows.h"

namespace LOWBIT_ISA {

/* Up to so many rows are few, and those for whose heads there is no room for more. */
INLINE bool areFew(const AttentionRows& a) { return a.rows() <= LANES || manyRowsWidth(a.headSize) == 0; }

/* The keys of a source that the rows see join in. */
template <class Source>
static void attendTo(const AttentionRows& a, const Source& source, const AttentionSpan& span) {
  if (areFew(a)) fewRowsAttend(a, source, span);
  else manyRowsAttend(a, source, span);
}

/* The sizes of a call; the bias, and its strides between sequences, heads and tokens; where tokens stand. */
struct AttentionCall {
  const float* q;
  float* y;
  const float* bias;
  size_t biasBatch, biasHead, biasToken;
  const int32_t *ranges, *positions;
  const float* sinks;
  int32_t batch, tokens, heads, kvHeads, headSize, position, window;
  float scale, softcap;

  int32_t first(int32_t b) const { return firstPosition(position, positions, b); }
  /*
   * What tokens from t on of sequence b see of `capacity` keys, causal or all: nothing, causal, where the
   * sequence is left out.
   */
  AttentionSpan span(int32_t b, int32_t t, int32_t capacity, int32_t causal) const {
    if (causal && first(b) < 0) capacity = 0;
    return attentionSpan(ranges ? ranges + 2 * b : nullptr, capacity, causal, window, first(b) + t);
  }
  /* How many keys a causal token sees at most. */
  int32_t keys() const {
    int32_t most = 0;
    for (int32_t b = 0; b < batch; b++) most = first(b) + tokens > most ? first(b) + tokens : most;
    return window > 0 && window + tokens < most ? window + tokens : most;
  }
  /* The queries of sequence b. */
  AttentionRows rows(int32_t b) const {
    size_t stride = (size_t)heads * headSize, at = (size_t)b * tokens * stride;
    return {q + at,   y + at, stride, bias ? bias + b * biasBatch : nullptr, biasToken, biasHead, sinks,
            tokens,   heads,  headSize, scale, softcap};
  }
};

/*
 * body(rows, b, kvHead, t) for all queries of a call, split over the threads: blocks of tokens, from t on, with
 * the heads that share keys and values. `keys` is how many a token sees, about.
 */
template <class Body> static void eachAttention(const AttentionCall& c, int32_t keys, const Body& body) {
  int32_t group = c.heads / c.kvHeads, most = manyRowsWidth(c.headSize);
  if (most == 0) most = ATTENTION_ROWS;
  /* Blocks of one size. */
  int32_t groupParts = ceilDivide(group, most), heads = ceilDivide(group, groupParts);
  int32_t tokenBlocks = ceilDivide(c.tokens, most / heads), tokens = ceilDivide(c.tokens, tokenBlocks);
  int32_t parts = c.batch * c.kvHeads * groupParts, units = parts * tokenBlocks;
  double perUnit = (double)heads * tokens * keys * c.headSize * 2 + 1;
  int32_t perTask = perUnit >= 2e5 ? 1 : (int32_t)(2e5 / perUnit) + 1;
  parallelFor(ceilDivide(units, perTask), [&](int32_t task) {
    for (int32_t unit = task * perTask; unit < (task + 1) * perTask && unit < units; unit++) {
      /* Last token blocks first: they see the most keys and take the longest. */
      int32_t t = (tokenBlocks - 1 - unit / parts) * tokens, part = unit % parts;
      int32_t kvHead = part / groupParts % c.kvHeads, b = part / groupParts / c.kvHeads;
      int32_t h = part % groupParts * heads, tokensHere = c.tokens - t < tokens ? c.tokens - t : tokens;
      int32_t headsHere = group - h < heads ? group - h : heads;
      if (tokensHere <= 0 || headsHere <= 0) continue;
      AttentionRows rows = c.rows(b).part(t, tokensHere, kvHead * group + h, headsHere);
      if (areFew(rows)) startFewRows(rows);
      else startManyRows(rows);
      body(rows, b, kvHead, t);
      if (areFew(rows)) endFewRows(rows);
      else endManyRows(rows);
    }
  });
}

}  // namespace LOWBIT_ISA
