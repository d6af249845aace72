#pragma once
#include "rows.h"

namespace LOWBIT_ISA {

/* Keys or values of a block as floats, one per thread. Whole vectors are written, whole tiles of columns read. */
struct AttentionBlock {
  alignas(64) float floats[ATTENTION_KEYS * PANEL_DEPTH + 2 * LANES];
  alignas(64) float scale[PANEL_DEPTH + LANES];
  alignas(64) float shift[PANEL_DEPTH + LANES];
};

/* A source of attention whose keys and values are made floats block by block. */
template <class Rows> struct AttentionDecoded {
  Rows k, v;
  static constexpr size_t stride = PANEL_DEPTH;

  const float* keys(int32_t token, int32_t count, int32_t i, int32_t depth) const {
    return decoded(k, token, count, i, depth);
  }
  const float* values(int32_t token, int32_t count, int32_t i, int32_t depth) const {
    return decoded(v, token, count, i, depth);
  }

 private:
  static const float* decoded(const Rows& rows, int32_t token, int32_t count, int32_t i, int32_t depth) {
    AttentionBlock& block = scratchHere<AttentionBlock>();
    rows.decode(token, count, i, depth, block.floats);
    return block.floats;
  }
};

/* to [cols] = the floats of a dtype that caches have, from p[index] on; whole vectors are written. */
static void decodeFloats(const void* p, int32_t dtype, size_t index, int32_t cols, float* to) {
  auto decode = [&](auto type) {
    constexpr int dtype = decltype(type)::value;
    int32_t c = 0;
    for (; c + LANES <= cols; c += LANES) store(to + c, loadFloat<dtype>(p, index + c));
    if (c < cols) store(to + c, loadFloatPartial(p, dtype, index + c, cols - c));
  };
  switch (dtype) {
    case FLOAT32: return decode(Constant<FLOAT32>{});
    case FLOAT16: return decode(Constant<FLOAT16>{});
    case FLOAT8_E4M3FN: return decode(Constant<FLOAT8_E4M3FN>{});
    default: __builtin_trap();
  }
}

/* Floats of a dtype, one token after another with `stride` values between them; data is that of token `base`. */
struct FloatRows {
  const void* data;
  int32_t dtype;
  size_t stride;
  int32_t base;

  void decode(int32_t token, int32_t count, int32_t i, int32_t depth, float* to) const {
    for (int32_t t = 0; t < count; t++)
      decodeFloats(data, dtype, (size_t)(token - base + t) * stride + i, depth, to + t * PANEL_DEPTH);
  }
};

/* The keys that rows see of tokens in full join in: `stride` values between tokens, k and v those of `base`. */
static void attendToFloats(const AttentionRows& rows, const void* k, const void* v, int32_t dtype,
                           size_t stride, int32_t base, const AttentionSpan& span) {
  if (dtype == FLOAT32) {
    attendTo(rows, AttentionFloats{(const float*)k, (const float*)v, stride, base}, span);
  } else {
    attendTo(rows, AttentionDecoded<FloatRows>{{k, dtype, stride, base}, {v, dtype, stride, base}}, span);
  }
}

/* p[index] of a dtype. */
INLINE const void* placeIn(const void* p, int32_t dtype, size_t index) {
  return (const uint8_t*)p + index * bytesOf(dtype);
}

}  // namespace LOWBIT_ISA
