#pragma once
#include "../../elementwise/unary/tanh.h"
#include "fewRows.h"
#include "positions.h"
#include "panel.h"

namespace LOWBIT_ISA {

struct AttentionScratch {
  alignas(64) float scores[ATTENTION_ROWS * ATTENTION_KEYS];
  /*
   * Keys transposed, [PANEL_DEPTH, ATTENTION_KEYS], or values padded to whole tiles of columns,
   * [ATTENTION_KEYS, PANEL_DEPTH].
   */
  alignas(64) float panel[PANEL_DEPTH * ATTENTION_KEYS];
  float largest[ATTENTION_ROWS];
  float total[ATTENTION_ROWS];
  /* Before the first keys: y holds anything. */
  bool fresh;
};

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

/* scores [rows, keys] = q · kᵀ for keys from first on. */
template <class Source>
static void attentionScores(const AttentionRows& a, const Source& source, int32_t first, int32_t keys,
                            AttentionScratch& s) {
  for (int32_t i = 0; i < a.headSize; i += PANEL_DEPTH) {
    int32_t depth = a.headSize - i < PANEL_DEPTH ? a.headSize - i : PANEL_DEPTH;
    auto k = source.keys(first, keys, i, depth);
    const float* q = a.q + i;
    if (a.rows <= FEW_ROWS) {
      withFewRows(a.rows, [&](auto rows) {
        attentionDots<decltype(rows)::value>(q, a.stride, k, keys, depth, i > 0, s.scores);
      });
      continue;
    }
    transposeRows<k.dtype>(k.data, k.at, k.stride, keys, depth, s.panel, ATTENTION_KEYS);
    const float* start = i > 0 ? s.scores : nullptr;
    multiplyPanel(q, a.stride, a.rows, s.panel, ATTENTION_KEYS, depth, start, ATTENTION_KEYS, s.scores,
                  ATTENTION_KEYS, keys);
  }
}

/*
 * Scores of row r become cap(scale · score) + bias, and -∞ where the row does not see the key, whose weight
 * is e^-∞ = 0; gives the largest of them and of `largest`.
 */
INLINE float attentionMask(const AttentionRows& a, const AttentionSpan& span, int32_t r, int32_t first,
                           int32_t keys, float* row, float largest) {
  const float* bias = a.bias ? a.bias + r * a.biasStride + first : nullptr;
  i32v lanes;
  for (int32_t lane = 0; lane < LANES; lane++) lanes[lane] = lane;
  int32_t low = span.first(r) - first, high = span.end(r) - first;
  if (high > keys) high = keys;
  f32v top = splat(largest);
  for (int32_t j = 0; j < ATTENTION_KEYS; j += LANES) {
    f32v score = load(row + j) * a.scale;
    if (a.softcap != 0) score = tanh(score / a.softcap) * a.softcap;
    if (bias) score += loadUpTo(bias + j, keys - j);
    i32v key = lanes + j;
    score = select((key >= low) & (key < high), score, splat(-__builtin_inff()));
    store(row + j, score);
    top = max(score, top);
  }
  return max(top);
}

/*
 * Scores become weights e^(score - largest so far); what y and total hold from before is brought to the new
 * largest score.
 * Source: Milakov, Gimelshein, "Online normalizer calculation for softmax", 2018, algorithm 3.
 */
static void attentionWeights(const AttentionRows& a, const AttentionSpan& span, int32_t first, int32_t keys,
                             AttentionScratch& s) {
  for (int32_t r = 0; r < a.rows; r++) {
    float* row = s.scores + r * ATTENTION_KEYS;
    float top = attentionMask(a, span, r, first, keys, row, s.largest[r]);
    f32v total = {};
    for (int32_t j = 0; j < ATTENTION_KEYS; j += LANES) {
      f32v weight = exp(load(row + j) - top);
      store(row + j, weight);
      total += weight;
    }
    float before = exp(s.largest[r] - top);
    s.total[r] = s.total[r] * before + sum(total);
    s.largest[r] = top;
    if (before != 1 && !s.fresh) {
      float* y = a.y + r * a.stride;
      for (int32_t i = 0; i < a.headSize; i += LANES)
        storeUpTo(y + i, loadUpTo(y + i, a.headSize - i) * before, a.headSize - i);
    }
  }
}

/* Whether all of `count` tokens' values is finite: what is not gives NaN with a weight of 0, too. */
template <int dtype> static bool allFinite(const FloatTokens<dtype>& x, int32_t count, int32_t cols) {
  FloatMasks<dtype> masks;
  f32v zeros = {};
  for (int32_t t = 0; t < count; t++) {
    for (int32_t c = 0; c < cols; c += LANES) zeros += x.loadUpTo(t, c, cols - c, masks) * 0.0f;
  }
  return sum(zeros) == 0;
}

static void clearRows(const AttentionRows& a) {
  for (int32_t r = 0; r < a.rows; r++) {
    for (int32_t i = 0; i < a.headSize; i += LANES) storeUpTo(a.y + r * a.stride + i, f32v{}, a.headSize - i);
  }
}

/* y += weights · v, or = for the first keys. */
template <class Source>
static void attentionValues(const AttentionRows& a, const Source& source, const AttentionSpan& span,
                            int32_t first, int32_t keys, AttentionScratch& s) {
  /* Whether some row sees not all of the keys. */
  bool partly = span.first(a.rows - 1) > first || span.end(0) < first + keys;
  /* NaN must not reach rows that do not see it: then each row takes no more keys than it sees. */
  bool rowByRow = false;
  for (int32_t i = 0; partly && i < a.headSize && !rowByRow; i += PANEL_DEPTH) {
    int32_t cols = a.headSize - i < PANEL_DEPTH ? a.headSize - i : PANEL_DEPTH;
    rowByRow = !allFinite(source.values(first, keys, i, cols), keys, cols);
  }
  if (rowByRow && s.fresh) clearRows(a);
  for (int32_t i = 0; i < a.headSize; i += PANEL_DEPTH) {
    int32_t cols = a.headSize - i < PANEL_DEPTH ? a.headSize - i : PANEL_DEPTH;
    auto v = source.values(first, keys, i, cols);
    float* y = a.y + i;
    if (rowByRow) {
      for (int32_t r = 0; r < a.rows; r++, y += a.stride) {
        int32_t low = span.first(r) - first, high = span.end(r) - first;
        if (low < 0) low = 0;
        if (high > keys) high = keys;
        const float* weights = s.scores + r * ATTENTION_KEYS + low;
        if (low < high) attentionSums<1>(weights, v.from(low), high - low, cols, true, y, a.stride);
      }
    } else if (a.rows <= FEW_ROWS) {
      withFewRows(a.rows, [&](auto rows) {
        attentionSums<decltype(rows)::value>(s.scores, v, keys, cols, !s.fresh, y, a.stride);
      });
    } else {
      bool ready = v.dtype == FLOAT32 && cols % TILE_COLS == 0;
      if (!ready) v.decode(keys, cols, s.panel, PANEL_DEPTH);
      const float* panel = ready ? (const float*)v.data + v.at : s.panel;
      multiplyPanel(s.scores, ATTENTION_KEYS, a.rows, panel, ready ? v.stride : PANEL_DEPTH, keys,
                    s.fresh ? nullptr : y, a.stride, y, a.stride, cols);
    }
  }
  s.fresh = false;
}

/* Before the first keys of some rows. */
static void startAttention(const AttentionRows& a) {
  AttentionScratch& s = scratchHere<AttentionScratch>();
  s.fresh = true;
  for (int32_t r = 0; r < a.rows; r++) {
    /* Not −∞: a block of scores that all are would give ∞ - ∞. */
    float sink = a.sinks ? a.sinks[r * a.sinkStride] : -__builtin_inff();
    s.largest[r] = sink <= -3.40282347e38f ? -3.40282347e38f : sink;
    s.total[r] = exp(sink - s.largest[r]);
  }
}

/* The keys of a source that the rows see join in. */
template <class Source>
static void attendTo(const AttentionRows& a, const Source& source, const AttentionSpan& span) {
  AttentionScratch& s = scratchHere<AttentionScratch>();
  int32_t end = span.end(a.rows - 1);
  for (int32_t first = span.first(0); first < end; first += ATTENTION_KEYS) {
    int32_t keys = end - first < ATTENTION_KEYS ? end - first : ATTENTION_KEYS;
    attentionScores(a, source, first, keys, s);
    attentionWeights(a, span, first, keys, s);
    attentionValues(a, source, span, first, keys, s);
  }
}

/* After the last keys: y is what was summed by the weights' total; nothing seen gives 0. */
static void endAttention(const AttentionRows& a) {
  AttentionScratch& s = scratchHere<AttentionScratch>();
  if (s.fresh) clearRows(a);
  for (int32_t r = 0; r < a.rows; r++) {
    if (s.total[r] == 0) continue;
    float* y = a.y + r * a.stride;
    for (int32_t i = 0; i < a.headSize; i += LANES)
      storeUpTo(y + i, loadUpTo(y + i, a.headSize - i) / s.total[r], a.headSize - i);
  }
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
   * One token: the heads of a group are the rows, and their keys are read once. Several: blocks of tokens of
   * one head.
   */
  bool single = c.tokens == 1;
  int32_t headsPerTask = single && group < ATTENTION_ROWS ? group : 1;
  int32_t tokenBlocks = (c.tokens + ATTENTION_ROWS - 1) / ATTENTION_ROWS;
  int32_t headBlocks = c.heads / headsPerTask;
  int32_t units = c.batch * headBlocks * tokenBlocks;
  double perUnit =
      (double)headsPerTask * (c.tokens < ATTENTION_ROWS ? c.tokens : ATTENTION_ROWS) * keys * c.headSize * 2 +
      1;
  int32_t perTask = perUnit >= 2e5 ? 1 : (int32_t)(2e5 / perUnit) + 1;
  parallelFor((units + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t unit = task * perTask; unit < (task + 1) * perTask && unit < units; unit++) {
      /* Last token blocks first: they see the most keys and take the longest. */
      int32_t block = tokenBlocks - 1 - unit / (c.batch * headBlocks);
      int32_t b = unit % (c.batch * headBlocks) / headBlocks, head = unit % headBlocks * headsPerTask;
      int32_t t = block * ATTENTION_ROWS;
      int32_t rows = single ? headsPerTask : c.tokens - t < ATTENTION_ROWS ? c.tokens - t : ATTENTION_ROWS;
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
      startAttention(rowsHere);
      body(rowsHere, b, head / group, t, single ? 0 : 1);
      endAttention(rowsHere);
    }
  });
}

}  // namespace LOWBIT_ISA
