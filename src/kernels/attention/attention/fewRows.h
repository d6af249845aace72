#pragma once
#include "rows.h"

namespace LOWBIT_ISA {

/*
 * Few rows of queries work on keys and values where they lie, up to four at a time: making a panel of them
 * would not pay. Columns of a head are in lanes.
 */
constexpr int32_t FEW_ROWS = 4;

/* Queries that share one pass over the keys, one per thread. */
constexpr int32_t ATTENTION_ROWS = 64;
struct FewRowsScratch {
  alignas(64) float scores[ATTENTION_ROWS * ATTENTION_KEYS];
  float largest[ATTENTION_ROWS];
  float total[ATTENTION_ROWS];
  /* Before the first keys: y holds anything. */
  bool fresh;
};

/* body(constant, row) for rows, FEW_ROWS at a time: the constant is how many. */
template <class Body> INLINE void eachFew(int32_t rows, const Body& body) {
  int32_t r = 0;
  for (; r + FEW_ROWS <= rows; r += FEW_ROWS) body(Constant<FEW_ROWS>{}, r);
  switch (rows - r) {
    case 1: return body(Constant<1>{}, r);
    case 2: return body(Constant<2>{}, r);
    case 3: return body(Constant<3>{}, r);
  }
}

/* y *= factor, in row r. */
static void scaleRow(const AttentionRows& a, int32_t r, float factor) {
  float* y = a.y + a.at(r);
  for (int32_t i = 0; i < a.headSize; i += LANES)
    storeUpTo(y + i, loadUpTo(y + i, a.headSize - i) * factor, a.headSize - i);
}

static void clearRows(const AttentionRows& a) {
  for (int32_t r = 0; r < a.rows(); r++) {
    float* y = a.y + a.at(r);
    for (int32_t i = 0; i < a.headSize; i += LANES) storeUpTo(y + i, f32v{}, a.headSize - i);
  }
}

/* Whether all of some tokens' values is finite: what is not gives NaN with a weight of 0, too. */
template <class Source>
static bool valuesFinite(const AttentionRows& a, const Source& source, int32_t first, int32_t keys) {
  f32v zeros = {};
  eachDepth(a.headSize, [&](int32_t i, int32_t cols) {
    auto v = source.values(first, keys, i, cols);
    FloatMasks<v.dtype> masks;
    for (int32_t j = 0; j < keys; j++) {
      for (int32_t c = 0; c < cols; c += LANES) zeros += v.loadUpTo(j, c, cols - c, masks) * 0.0f;
    }
  });
  return sum(zeros) == 0;
}

/*
 * scores [rows, keys] = (add ? scores : 0) + q · kᵀ over `depth` columns; a key is loaded once for all rows.
 */
template <int rows, int dtype>
OUTLINE void attentionDots(const float* const* q, const FloatTokens<dtype>& k, int32_t keys, int32_t depth,
                          bool add, float* scores) {
  FloatMasks<dtype> masks;
  size_t at = k.at;
  for (int32_t j = 0; j < keys; j++, at += k.stride) {
    f32v dots[rows] = {};
    int32_t c = 0;
    for (; c + LANES <= depth; c += LANES) {
      f32v key = loadFloat<dtype>(k.data, at + c, masks);
      for (int r = 0; r < rows; r++) dots[r] = fma(load(q[r] + c), key, dots[r]);
    }
    if (c < depth) {
      f32v key = loadSome<dtype>(k.data, at + c, depth - c);
      for (int r = 0; r < rows; r++) dots[r] = fma(loadPartial(q[r] + c, depth - c), key, dots[r]);
    }
    for (int r = 0; r < rows; r++) {
      float* score = scores + r * ATTENTION_KEYS + j;
      *score = add ? *score + sum(dots[r]) : sum(dots[r]);
    }
  }
}

/* y [rows, n <= vectors · LANES] = (add ? y : 0) + Σ weight[r, j] · value(j, vector). */
template <int rows, int vectors, class Value>
INLINE void attentionColumns(const float* weights, int32_t keys, bool add, float* const* y, int32_t c,
                             int32_t n, const Value& value) {
  f32v sums[rows][vectors] = {};
  for (int32_t j = 0; j < keys; j++) {
    f32v values[vectors];
#pragma GCC unroll 4
    for (int i = 0; i < vectors; i++) values[i] = value(j, i);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
      f32v weight = splat(weights[r * ATTENTION_KEYS + j]);
#pragma GCC unroll 4
      for (int i = 0; i < vectors; i++) sums[r][i] = fma(weight, values[i], sums[r][i]);
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int i = 0; i < vectors; i++) {
      float* to = y[r] + c + i * LANES;
      /* Added last: a long sum is one of stretches. */
      if (add) sums[r][i] = loadUpTo(to, n - i * LANES) + sums[r][i];
      storeUpTo(to, sums[r][i], n - i * LANES);
    }
  }
}

/* y [rows, cols] = (add ? y : 0) + weights [rows, keys] · v; ATTENTION_KEYS between rows of weights. */
template <int rows, int dtype>
OUTLINE void attentionSums(const float* weights, const FloatTokens<dtype>& v, int32_t keys, int32_t cols,
                          bool add, float* const* y) {
  FloatMasks<dtype> masks;
  constexpr int vectors = rows == 1 ? 4 : 2;
  int32_t c = 0;
  auto whole = [&](int32_t j, int i) {
    return loadFloat<dtype>(v.data, v.at + j * v.stride + c + i * LANES, masks);
  };
  for (; c + vectors * LANES <= cols; c += vectors * LANES)
    attentionColumns<rows, vectors>(weights, keys, add, y, c, vectors * LANES, whole);
  for (; c + LANES <= cols; c += LANES)
    attentionColumns<rows, 1>(weights, keys, add, y, c, LANES, whole);
  if (c == cols) return;
  attentionColumns<rows, 1>(weights, keys, add, y, c, cols - c, [&](int32_t j, int) {
    return loadSome<dtype>(v.data, v.at + j * v.stride + c, cols - c);
  });
}

/*
 * Products of row r become scores, cap(scale · product) + bias, and -∞ where the row does not see the key,
 * whose weight is e^-∞ = 0; gives the largest of them and of `largest`.
 */
INLINE float attentionMask(const AttentionRows& a, const AttentionSpan& span, int32_t r, int32_t first,
                           int32_t keys, float* row, float largest) {
  const float* bias = a.bias ? a.bias + a.biasAt(r) + first : nullptr;
  i32v lanes;
  for (int32_t lane = 0; lane < LANES; lane++) lanes[lane] = lane;
  int32_t low = span.first(a.token(r)) - first, high = span.end(a.token(r)) - first;
  if (high > keys) high = keys;
  f32v top = splat(largest);
  float factor = a.factor();
  for (int32_t j = 0; j < ATTENTION_KEYS; j += LANES) {
    f32v score = a.score(load(row + j) * factor);
    if (bias) score += loadUpTo(bias + j, keys - j);
    i32v key = lanes + j;
    score = select((key >= low) & (key < high), score, splat(-__builtin_inff()));
    store(row + j, score);
    top = max(score, top);
  }
  return max(top);
}

/*
 * body(constant, row, at) for rows, FEW_ROWS at a time: at [constant] is where rows of q, or of y, from
 * column i on are.
 */
template <class T, class Body>
INLINE void eachFewRows(const AttentionRows& a, T* base, int32_t i, const Body& body) {
  eachFew(a.rows(), [&](auto rows, int32_t r) {
    T* at[decltype(rows)::value];
    for (int k = 0; k < decltype(rows)::value; k++) at[k] = base + a.at(r + k) + i;
    body(rows, r, at);
  });
}

/* scores [rows, keys] = q · kᵀ for keys from first on. */
template <class Source>
static void fewScores(const AttentionRows& a, const Source& source, int32_t first, int32_t keys,
                      FewRowsScratch& s) {
  eachDepth(a.headSize, [&](int32_t i, int32_t depth) {
    auto k = source.keys(first, keys, i, depth);
    eachFewRows(a, a.q, i, [&](auto rows, int32_t r, const float* const* q) {
      attentionDots<decltype(rows)::value>(q, k, keys, depth, i > 0, s.scores + r * ATTENTION_KEYS);
    });
  });
}

/*
 * Scores become weights e^(score - largest so far); what y and total hold is brought to the new largest
 * score.
 */
static void fewWeights(const AttentionRows& a, const AttentionSpan& span, int32_t first, int32_t keys,
                       FewRowsScratch& s) {
  for (int32_t r = 0; r < a.rows(); r++) {
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
    if (before != 1 && !s.fresh) scaleRow(a, r, before);
  }
}

/* y += weights · v, or = for the first keys. */
template <class Source>
static void fewValues(const AttentionRows& a, const Source& source, const AttentionSpan& span, int32_t first,
                      int32_t keys, FewRowsScratch& s) {
  /* NaN must not reach rows that do not see it: then each row takes no more keys than it sees. */
  bool rowByRow = partlySeen(a, span, first, keys) && !valuesFinite(a, source, first, keys);
  if (rowByRow && s.fresh) clearRows(a);
  eachDepth(a.headSize, [&](int32_t i, int32_t cols) {
    auto v = source.values(first, keys, i, cols);
    if (!rowByRow) {
      return eachFewRows(a, a.y, i, [&](auto rows, int32_t r, float* const* y) {
        attentionSums<decltype(rows)::value>(s.scores + r * ATTENTION_KEYS, v, keys, cols, !s.fresh, y);
      });
    }
    for (int32_t r = 0; r < a.rows(); r++) {
      int32_t low = span.first(a.token(r)) - first, high = span.end(a.token(r)) - first;
      if (low < 0) low = 0;
      if (high > keys) high = keys;
      float* y = a.y + a.at(r) + i;
      if (low < high)
        attentionSums<1>(s.scores + r * ATTENTION_KEYS + low, v.from(low), high - low, cols, true, &y);
    }
  });
  s.fresh = false;
}

OUTLINE void startFewRows(const AttentionRows& a) {
  FewRowsScratch& s = scratchHere<FewRowsScratch>();
  s.fresh = true;
  for (int32_t r = 0; r < a.rows(); r++) {
    s.largest[r] = attentionStart(a.sink(r));
    s.total[r] = exp(a.sink(r) - s.largest[r]);
  }
}

/* The keys of a source that the rows see join in. */
template <class Source>
OUTLINE void fewRowsAttend(const AttentionRows& a, const Source& source, const AttentionSpan& span) {
  FewRowsScratch& s = scratchHere<FewRowsScratch>();
  eachKeys(a, span, [&](int32_t first, int32_t keys) {
    fewScores(a, source, first, keys, s);
    fewWeights(a, span, first, keys, s);
    fewValues(a, source, span, first, keys, s);
  });
}

/* y is what was summed by the weights' total; nothing seen gives 0. */
OUTLINE void endFewRows(const AttentionRows& a) {
  FewRowsScratch& s = scratchHere<FewRowsScratch>();
  if (s.fresh) clearRows(a);
  for (int32_t r = 0; r < a.rows(); r++) if (s.total[r] != 0) scaleRow(a, r, 1 / s.total[r]);
}

}  // namespace LOWBIT_ISA
