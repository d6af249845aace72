#pragma once
#include "fewRows.h"
#include "manyRows.h"

namespace LOWBIT_ISA {

/* How many rows of a head share a pass over the keys. */
INLINE int32_t rowsTogether(int32_t headSize) {
  int32_t width = manyRowsWidth(headSize);
  return width > 0 ? width : FEW_ROWS;
}

/* The keys of a source that the rows see join in. */
template <class Source>
static void attendTo(const AttentionRows& a, const Source& source, const AttentionSpan& span) {
  if (a.rows <= FEW_ROWS) attendFewRows(a, source, span);
  else attendManyRows(a, source, span);
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
   * What rows from token t on of sequence b see of `capacity` keys, causal or all: nothing, causal, where the
   * sequence is left out.
   */
  AttentionSpan span(int32_t b, int32_t t, int32_t step, int32_t capacity, int32_t causal) const {
    if (causal && first(b) < 0) capacity = 0;
    return attentionSpan(ranges ? ranges + 2 * b : nullptr, capacity, causal, window, first(b) + t, step);
  }
  /* How many keys a causal row sees at most. */
  int32_t keys() const {
    int32_t most = 0;
    for (int32_t b = 0; b < batch; b++) most = first(b) + tokens > most ? first(b) + tokens : most;
    return window > 0 && window + tokens < most ? window + tokens : most;
  }
};

/*
 * body(rows, b, kvHead, t, step) for all rows of a call, split over the threads; t is the first row's token,
 * step 1 if the rows are consecutive tokens and 0 if they are heads. `keys` is how many a row sees, about.
 */
template <class Body> static void eachAttention(const AttentionCall& c, int32_t keys, const Body& body) {
  int32_t group = c.heads / c.kvHeads;
  /*
   * One token: the heads of a group are the rows, a few or many of them, so that their keys are read once or
   * twice. Several: blocks of tokens of one head.
   */
  bool single = c.tokens == 1;
  int32_t most = rowsTogether(c.headSize);
  int32_t few = group < FEW_ROWS ? group : FEW_ROWS;
  int32_t headsPerTask = !single ? 1 : group <= 2 * FEW_ROWS || group >= most ? few : group;
  int32_t tokenBlocks = ceilDivide(c.tokens, most);
  int32_t groupBlocks = ceilDivide(group, headsPerTask), headBlocks = c.kvHeads * groupBlocks;
  int32_t units = c.batch * headBlocks * tokenBlocks;
  double perUnit =
      (double)headsPerTask * (c.tokens < most ? c.tokens : most) * keys * c.headSize * 2 +
      1;
  int32_t perTask = evenShare(units, perUnit >= 2e5 ? 1 : (int32_t)(2e5 / perUnit) + 1);
  parallelFor(ceilDivide(units, perTask), [&](int32_t task) {
    for (int32_t unit = task * perTask; unit < (task + 1) * perTask && unit < units; unit++) {
      /* Last token blocks first: they see the most keys and take the longest. */
      int32_t block = tokenBlocks - 1 - unit / (c.batch * headBlocks);
      int32_t b = unit % (c.batch * headBlocks) / headBlocks, kvHead = unit % headBlocks / groupBlocks;
      int32_t inGroup = unit % groupBlocks * headsPerTask, head = kvHead * group + inGroup;
      int32_t t = block * most;
      int32_t left = single ? group - inGroup : c.tokens - t, together = single ? headsPerTask : most;
      int32_t rows = left < together ? left : together;
      size_t at = (((size_t)b * c.tokens + t) * c.heads + head) * c.headSize;
      size_t stride = single ? c.headSize : (size_t)c.heads * c.headSize;
      const float* bias = c.bias ? c.bias + b * c.biasBatch + head * c.biasHead + t * c.biasToken : nullptr;
      AttentionRows rowsHere = {c.q + at,   c.y + at,
                                stride,     bias,
                                single ? c.biasHead : c.biasToken,
                                c.sinks ? c.sinks + head : nullptr,
                                single,     rows,
                                c.headSize, c.scale,
                                c.softcap};
      if (rows <= FEW_ROWS) startFewRows(rowsHere);
      else startManyRows(rowsHere);
      body(rowsHere, b, kvHead, t, single ? 0 : 1);
      if (rows <= FEW_ROWS) endFewRows(rowsHere);
      else endManyRows(rowsHere);
    }
  });
}

}  // namespace LOWBIT_ISA
