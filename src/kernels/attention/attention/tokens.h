#pragma once
#include "panel.h"

namespace LOWBIT_ISA {

/* Keys between two updates of the running softmax. */
constexpr int32_t ATTENTION_KEYS = 64;

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
 * Keys or values of some tokens as floats, TILE_STRIDE between them, one per thread. Whole vectors are
 * written.
 */
struct AttentionBlock {
  alignas(64) float floats[ATTENTION_KEYS * TILE_STRIDE];
  /* Of codes that share them value by value. */
  alignas(64) float scale[PANEL_DEPTH + LANES];
  alignas(64) float shift[PANEL_DEPTH + LANES];
};

}  // namespace LOWBIT_ISA
