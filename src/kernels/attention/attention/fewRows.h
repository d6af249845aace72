#pragma once
#include "rows.h"

namespace LOWBIT_ISA {

/* So few queries work on keys and values where they lie: bringing those into lanes would not pay. */
constexpr int32_t FEW_ROWS = 4;

struct FewRowsScratch {
  alignas(64) float scores[FEW_ROWS * ATTENTION_KEYS];
  float largest[FEW_ROWS];
  float total[FEW_ROWS];
  /* Before the first keys: y holds anything. */
  bool fresh;
};

/* body(constant) with the number of rows, 1 … FEW_ROWS. */
template <class Body> INLINE void withFewRows(int32_t rows, const Body& body) {
  switch (rows) {
    case 1: return body(Constant<1>{});
    case 2: return body(Constant<2>{});
    case 3: return body(Constant<3>{});
    default: return body(Constant<4>{});
  }
}

/*
 * scores [rows, keys] = (add ? scores : 0) + q · kᵀ over `depth` columns; a key is loaded once for all rows.
 * The tokens' values, which are read next, lie at `v`, as far apart as keys, if it is not null: they are
 * asked for meanwhile.
 */
template <int rows, int dtype>
static void attentionDots(const float* q, size_t qStride, const FloatTokens<dtype>& k, int32_t keys,
                          int32_t depth, bool add, float* scores, const uint8_t* v) {
  FloatMasks<dtype> masks;
  size_t at = k.at;
  for (int32_t j = 0; j < keys; j++, at += k.stride) {
    if (v) {
      constexpr int32_t bytes = bytesOf(dtype);
      const uint8_t* values = v + j * k.stride * bytes;
      for (int32_t line = 0; line < depth * bytes; line += 64) __builtin_prefetch(values + line);
    }
    f32v dots[rows] = {};
    int32_t c = 0;
    for (; c + LANES <= depth; c += LANES) {
      f32v key = loadFloat<dtype>(k.data, at + c, masks);
      for (int r = 0; r < rows; r++) dots[r] = fma(load(q + r * qStride + c), key, dots[r]);
    }
    if (c < depth) {
      f32v key = loadSome<dtype>(k.data, at + c, depth - c);
      for (int r = 0; r < rows; r++) dots[r] = fma(loadPartial(q + r * qStride + c, depth - c), key, dots[r]);
    }
    for (int r = 0; r < rows; r++) {
      float* score = scores + r * ATTENTION_KEYS + j;
      *score = add ? *score + sum(dots[r]) : sum(dots[r]);
    }
  }
}

/* y [rows, n <= vectors · LANES] = (add ? y : 0) + Σ weight[r, j] · value(j, vector). */
template <int rows, int vectors, class Value>
INLINE void attentionColumns(const float* weights, int32_t keys, bool add, float* y, size_t yStride, int32_t n,
                             const Value& value) {
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
  for (int r = 0; r < rows; r++, y += yStride) {
    for (int i = 0; i < vectors; i++) {
      float* to = y + i * LANES;
      /* Added last: a long sum is one of stretches. */
      if (add) sums[r][i] = loadUpTo(to, n - i * LANES) + sums[r][i];
      storeUpTo(to, sums[r][i], n - i * LANES);
    }
  }
}

/* y [rows, cols] = (add ? y : 0) + weights [rows, keys] · v; ATTENTION_KEYS between rows of weights. */
template <int rows, int dtype>
static void attentionSums(const float* weights, const FloatTokens<dtype>& v, int32_t keys, int32_t cols,
                          bool add, float* y, size_t yStride) {
  FloatMasks<dtype> masks;
  constexpr int vectors = rows == 1 ? 4 : 2;
  int32_t c = 0;
  auto whole = [&](int32_t j, int i) {
    return loadFloat<dtype>(v.data, v.at + j * v.stride + c + i * LANES, masks);
  };
  for (; c + vectors * LANES <= cols; c += vectors * LANES)
    attentionColumns<rows, vectors>(weights, keys, add, y + c, yStride, vectors * LANES, whole);
  for (; c + LANES <= cols; c += LANES)
    attentionColumns<rows, 1>(weights, keys, add, y + c, yStride, LANES, whole);
  if (c == cols) return;
  attentionColumns<rows, 1>(weights, keys, add, y + c, yStride, cols - c, [&](int32_t j, int) {
    return loadSome<dtype>(v.data, v.at + j * v.stride + c, cols - c);
  });
}

/* scores [rows, keys] = q · kᵀ for keys from first on. */
template <class Source>
static void fewScores(const AttentionRows& a, const Source& source, int32_t first, int32_t keys,
                      FewRowsScratch& s) {
  eachDepth(a.headSize, [&](int32_t i, int32_t depth) {
    auto k = source.keys(first, keys, i, depth);
    withFewRows(a.rows, [&](auto rows) {
      attentionDots<decltype(rows)::value>(a.q + i, a.stride, k, keys, depth, i > 0, s.scores,
                                           source.placeOfValues(first, i));
    });
  });
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
    f32v score = attentionScore(a, load(row + j));
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
static void fewWeights(const AttentionRows& a, const AttentionSpan& span, int32_t first, int32_t keys,
                             FewRowsScratch& s) {
  for (int32_t r = 0; r < a.rows; r++) {
    float* row = s.scores + r * ATTENTION_KEYS;
    float top = attentionMask(a, span, r, first, keys, row, s.largest[r]);
    f32v total = {};
    for (int32_t j = 0; j < ATTENTION_KEYS; j += LANES) {
      f32v weight = expOfNegative(load(row + j) - top);
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
static void fewValues(const AttentionRows& a, const Source& source, const AttentionSpan& span, int32_t first,
                      int32_t keys, FewRowsScratch& s) {
  /* NaN must not reach rows that do not see it: then each row takes no more keys than it sees. */
  bool rowByRow = false, partly = partlySeen(a, span, first, keys);
  eachDepth(a.headSize, [&](int32_t i, int32_t cols) {
    rowByRow = rowByRow || (partly && !allFinite(source.values(first, keys, i, cols), keys, cols));
  });
  if (rowByRow && s.fresh) clearRows(a);
  eachDepth(a.headSize, [&](int32_t i, int32_t cols) {
    auto v = source.values(first, keys, i, cols);
    float* y = a.y + i;
    if (!rowByRow) {
      return withFewRows(a.rows, [&](auto rows) {
        attentionSums<decltype(rows)::value>(s.scores, v, keys, cols, !s.fresh, y, a.stride);
      });
    }
    for (int32_t r = 0; r < a.rows; r++, y += a.stride) {
      int32_t low = span.first(r) - first, high = span.end(r) - first;
      if (low < 0) low = 0;
      if (high > keys) high = keys;
      const float* weights = s.scores + r * ATTENTION_KEYS + low;
      if (low < high) attentionSums<1>(weights, v.from(low), high - low, cols, true, y, a.stride);
    }
  });
  s.fresh = false;
}

/* Before the first keys of some rows. */
static void startFewRows(const AttentionRows& a) {
  FewRowsScratch& s = scratchHere<FewRowsScratch>();
  s.fresh = true;
  for (int32_t r = 0; r < a.rows; r++) {
    s.largest[r] = attentionStart(sinkOf(a, r));
    s.total[r] = exp(sinkOf(a, r) - s.largest[r]);
  }
}

/* The keys of a source that the rows see join in. */
template <class Source>
static void attendFewRows(const AttentionRows& a, const Source& source, const AttentionSpan& span) {
  FewRowsScratch& s = scratchHere<FewRowsScratch>();
  eachKeys(a, span, [&](int32_t first, int32_t keys) {
    fewScores(a, source, first, keys, s);
    fewWeights(a, span, first, keys, s);
    fewValues(a, source, span, first, keys, s);
  });
}

/* After the last keys: y is what was summed by the weights' total; nothing seen gives 0. */
static void endFewRows(const AttentionRows& a) {
  FewRowsScratch& s = scratchHere<FewRowsScratch>();
  if (s.fresh) clearRows(a);
  for (int32_t r = 0; r < a.rows; r++) {
    if (s.total[r] == 0) continue;
    float* y = a.y + r * a.stride;
    for (int32_t i = 0; i < a.headSize; i += LANES)
      storeUpTo(y + i, loadUpTo(y + i, a.headSize - i) / s.total[r], a.headSize - i);
  }
}

}  // namespace LOWBIT_ISA
