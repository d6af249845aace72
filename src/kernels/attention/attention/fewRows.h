#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/* Queries that share one pass over the keys, and keys between two updates of the running softmax. */
constexpr int32_t ATTENTION_ROWS = 64;
constexpr int32_t ATTENTION_KEYS = 64;
/* So few queries work on keys and values where they lie: making a panel of them would not pay. */
constexpr int32_t FEW_ROWS = 4;

/* body(constant) with the number of rows, 1 … FEW_ROWS. */
template <class Body> INLINE void withFewRows(int32_t rows, const Body& body) {
  switch (rows) {
    case 1: return body(Constant<1>{});
    case 2: return body(Constant<2>{});
    case 3: return body(Constant<3>{});
    default: return body(Constant<4>{});
  }
}

/* The first n < LANES values of a dtype from p[index] on, zeros behind them. */
template <int dtype> INLINE f32v loadSome(const void* p, size_t index, int32_t n) {
  if constexpr (dtype == FLOAT32) return loadPartial((const float*)p + index, n);
#if LANES == 16
  if constexpr (dtype == FLOAT16)
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), (const uint16_t*)p + index));
#endif
  return loadFloatPartial(p, dtype, index, n);
}

/* Keys or values of tokens, those of the first from data[at] on, of the next `stride` values behind. */
template <int type> struct FloatTokens {
  static constexpr int dtype = type;
  const void* data;
  size_t at, stride;

  FloatTokens from(int32_t token) const { return {data, at + token * stride, stride}; }
  /* LANES values of a token from column c on, or the first n of them and zeros. */
  f32v loadUpTo(int32_t token, int32_t c, int32_t n, const FloatMasks<type>& masks) const {
    size_t index = at + token * stride + c;
    return n >= LANES ? loadFloat<type>(data, index, masks) : loadSome<type>(data, index, n);
  }
  /* to [count, cols] as floats with toStride between rows; whole vectors are written. */
  void decode(int32_t count, int32_t cols, float* to, size_t toStride) const {
    FloatMasks<type> masks;
    for (int32_t t = 0; t < count; t++) {
      for (int32_t c = 0; c < cols; c += LANES) store(to + t * toStride + c, loadUpTo(t, c, cols - c, masks));
    }
  }
};

/*
 * scores [rows, keys] = (add ? scores : 0) + q · kᵀ over `depth` columns; a key is loaded once for all rows.
 */
template <int rows, int dtype>
static void attentionDots(const float* q, size_t qStride, const FloatTokens<dtype>& k, int32_t keys,
                          int32_t depth, bool add, float* scores) {
  FloatMasks<dtype> masks;
  size_t at = k.at;
  for (int32_t j = 0; j < keys; j++, at += k.stride) {
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

}  // namespace LOWBIT_ISA
