#pragma once
#include "call.h"

namespace LOWBIT_ISA {

/* A source of attention whose keys and values are made floats block by block. */
template <class Rows> struct AttentionDecoded {
  Rows k, v;

  FloatTokens<FLOAT32> keys(int32_t token, int32_t count, int32_t i, int32_t depth) const {
    return decoded(k, token, count, i, depth);
  }
  FloatTokens<FLOAT32> values(int32_t token, int32_t count, int32_t i, int32_t depth) const {
    return decoded(v, token, count, i, depth);
  }
  /* They lie nowhere as they are needed. */
  const uint8_t* placeOfValues(int32_t, int32_t) const { return nullptr; }

 private:
  static FloatTokens<FLOAT32> decoded(const Rows& rows, int32_t token, int32_t count, int32_t i,
                                      int32_t depth) {
    AttentionBlock& block = scratchHere<AttentionBlock>();
    rows.decode(token, count, i, depth, block.floats);
    return {block.floats, 0, TILE_STRIDE};
  }
};

/* body(constant) with a dtype that floats of caches have. */
template <class Body> INLINE void withCacheFloat(int32_t dtype, const Body& body) {
  switch (dtype) {
    case FLOAT32: return body(Constant<FLOAT32>{});
    case FLOAT16: return body(Constant<FLOAT16>{});
    case FLOAT8_E4M3FN: return body(Constant<FLOAT8_E4M3FN>{});
    default: __builtin_trap();
  }
}

/* to [cols] = the floats of a dtype that caches have, from p[index] on; whole vectors are written. */
static void decodeFloats(const void* p, int32_t dtype, size_t index, int32_t cols, float* to) {
  withCacheFloat(dtype, [&](auto type) {
    FloatTokens<decltype(type)::value>{p, index, 0}.decode(1, cols, to, 0);
  });
}

/*
 * Floats of a dtype, one token after another with `stride` values between them; data is that of token `base`.
 */
struct FloatRows {
  const void* data;
  int32_t dtype;
  size_t stride;
  int32_t base;

  void decode(int32_t token, int32_t count, int32_t i, int32_t depth, float* to) const {
    for (int32_t t = 0; t < count; t++)
      decodeFloats(data, dtype, (size_t)(token - base + t) * stride + i, depth, to + t * TILE_STRIDE);
  }
};

/*
 * A source of floats that lie one token after another, `stride` values between them; k and v are those of
 * `base`.
 */
template <int dtype> struct AttentionFloats {
  const void *k, *v;
  size_t stride;
  int32_t base;

  FloatTokens<dtype> keys(int32_t token, int32_t, int32_t i, int32_t) const { return place(k, token, i); }
  FloatTokens<dtype> values(int32_t token, int32_t, int32_t i, int32_t) const { return place(v, token, i); }
  /* Where the values of a token lie, from column i on. */
  const uint8_t* placeOfValues(int32_t token, int32_t i) const {
    return (const uint8_t*)v + place(v, token, i).at * bytesOf(dtype);
  }

 private:
  FloatTokens<dtype> place(const void* data, int32_t token, int32_t i) const {
    return {data, (size_t)(token - base) * stride + i, stride};
  }
};

/*
 * The keys that rows see of tokens in full join in: `stride` values between tokens, k and v those of `base`.
 */
static void attendToFloats(const AttentionRows& rows, const void* k, const void* v, int32_t dtype,
                           size_t stride, int32_t base, const AttentionSpan& span) {
  withCacheFloat(dtype, [&](auto type) {
    attendTo(rows, AttentionFloats<decltype(type)::value>{k, v, stride, base}, span);
  });
}

/* p[index] of a dtype. */
INLINE const void* placeIn(const void* p, int32_t dtype, size_t index) {
  return (const uint8_t*)p + index * bytesOf(dtype);
}

}  // namespace LOWBIT_ISA
