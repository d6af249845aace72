/*
 * float16, bfloat16 and float8: their values, one at a time and as vectors. The second half of simd.h, which
 * includes it.
 */
#pragma once

namespace LOWBIT_ISA {

/* ---------------------------------------------------------------- small floats */

/*
 * A float of at most 16 bits, as in src/core/halves.ts. One code serves single values (F float, U uint32_t)
 * and vectors (f32v, u32v): comparisons, & and `? :` read the same for both.
 */
struct SmallFloat {
  int mantissaBits, bias;
  uint32_t sign;     /* the sign bit */
  uint32_t largest;  /* the largest finite pattern */
  uint32_t overflow; /* what is above it becomes */
  uint32_t nan;
  bool fnuz; /* no -0 and one NaN, where -0 would be */
};

template <int dtype> constexpr SmallFloat smallFloat =
    dtype == FLOAT16         ? SmallFloat{10, 15, 0x8000, 0x7bff, 0x7c00, 0x7e00, false}
    : dtype == FLOAT8_E4M3FN ? SmallFloat{3, 7, 0x80, 0x7e, 0x7e, 0x7f, false}
    : dtype == FLOAT8_E5M2   ? SmallFloat{2, 15, 0x80, 0x7b, 0x7c, 0x7f, false}
                             : SmallFloat{3, 8, 0x80, 0x7f, 0x80, 0x80, true};

/* The float32 of `pattern`s of dtype. */
template <int dtype, class F, class U> INLINE F decodeSmall(U pattern) {
  constexpr SmallFloat f = smallFloat<dtype>;
  U magnitude = pattern & (f.sign - 1);
  U sign = (pattern & f.sign) << (f.sign == 0x80 ? 24 : 16);
  /*
   * With mantissa and exponent in float32's places, a multiplication rebiases the exponent, subnormals
   * included.
   */
  U bits = magnitude << (23 - f.mantissaBits);
  U value = bitsOf(floatOf(bits) * floatOf((254u - f.bias) << 23));
  if (f.fnuz) return floatOf(pattern == f.nan ? U{} + 0x7fc00000u : value | sign);
  return floatOf((magnitude > f.largest ? bits | 0x7f800000u : value) | sign);
}

/* The patterns of dtype nearest to x, ties to even. */
template <int dtype, class F, class U> INLINE U encodeSmall(F x) {
  constexpr SmallFloat f = smallFloat<dtype>;
  constexpr int drop = 23 - f.mantissaBits;
  U magnitude = bitsOf(x) & 0x7fffffffu;
  U sign = (bitsOf(x) >> 31) * f.sign;
  U rebiased = magnitude - ((127u - f.bias) << 23);
  U normal = (rebiased + ((1u << (drop - 1)) - 1) + ((rebiased >> drop) & 1u)) >> drop;
  /* Adding 2^23 times the subnormal spacing makes the adder round to that spacing. */
  U ruler = U{} + ((127u + 24 - f.bias - f.mantissaBits) << 23);
  U subnormal = bitsOf(floatOf(magnitude) + floatOf(ruler)) - ruler;
  U pattern = magnitude < ((128u - f.bias) << 23) ? subnormal : normal;
  pattern = pattern > f.largest ? U{} + f.overflow : pattern;
  /* Where -0 would be, fnuz has its only NaN: zero and overflow carry no sign there. */
  if (f.fnuz) sign = (pattern == 0) ? U{} : sign;
  if (f.fnuz) sign = (pattern == f.overflow) ? U{} : sign;
  pattern = pattern | sign;
  return magnitude > 0x7f800000u ? U{} + f.nan : pattern;
}

/* table[index] of a table of sixteen, lane by lane; of an index only the lowest four bits count. */
INLINE f32v tableValues(const float* table, u32v index) {
#if LANES == 16
  return _mm512_permutexvar_ps((__m512i)index, loadAs<__m512>(table));
#elif LANES == 8
  __m256 low = _mm256_permutevar8x32_ps(loadAs<__m256>(table), (__m256i)index);
  __m256 high = _mm256_permutevar8x32_ps(loadAs<__m256>(table + 8), (__m256i)index);
  return _mm256_blendv_ps(low, high, (__m256)(index << 28));
#else
  return f32v{table[index[0] & 15], table[index[1] & 15], table[index[2] & 15], table[index[3] & 15]};
#endif
}

/*
 * What loadFloat takes besides: a loop makes it once, since a WebAssembly engine would make its constants at each use.
 */
template <int dtype> struct FloatMasks {};
#if LANES == 4
template <> struct FloatMasks<FLOAT16> {
  u32v kept = splat(0x8fffffffu), magnitude = splat(0x7fffu), infinity = splat(0x7f800000u);
  i32v largest = splat(0x7bff);
  f32v scale = splat(0x1p112f);
  FloatMasks() { opaque(kept), opaque(magnitude), opaque(largest), opaque(infinity), opaque(scale); }
};

/*
 * decodeSmall<FLOAT16>: the sign, of which there are copies before the number, moves to its place with it; a
 * multiplication rebiases the exponent.
 */
INLINE f32v decodeHalves(u16v halves, const FloatMasks<FLOAT16>& masks) {
  typedef int16_t i16s __attribute__((vector_size(8)));
  i32v wide = __builtin_convertvector((i16s)halves, i32v);
  f32v value = floatOf(((u32v)wide << 13) & masks.kept) * masks.scale;
  u32v beyond = (u32v)((i32v)((u32v)wide & masks.magnitude) > masks.largest) & masks.infinity;
  return floatOf(bitsOf(value) | beyond);
}
#endif

/* LANES values of a float dtype from p[index] on, as float32. */
template <int dtype>
INLINE f32v loadFloat(const void* p, size_t index, const FloatMasks<dtype>& masks = FloatMasks<dtype>()) {
  if constexpr (dtype == FLOAT32) return load((const float*)p + index);
  const uint16_t* halves = (const uint16_t*)p + index;
  if constexpr (dtype == BFLOAT16) return floatOf(widenHalves(loadAs<u16v>(halves)) << 16);
  if constexpr (dtype == FLOAT16) {
#if LANES == 16
    return _mm512_cvtph_ps(loadAs<__m256i>(halves));
#elif LANES == 8
    return _mm256_cvtph_ps(loadAs<__m128i>(halves));
#else
    return decodeHalves(loadAs<u16v>(halves), masks);
#endif
  }
  return decodeSmall<dtype, f32v>((u32v)widenBytes(loadAs<u8v>((const uint8_t*)p + index)));
}

/*
 * The float16 of a row of tiles, 16 after 16, as float32, decoded where they are used. Where an instruction
 * converts them it takes any; else an infinity or NaN is not looked for in each: the largest says in the end
 * whether there was one.
 */
struct TileHalves {
  const uint8_t* from;
  f32v of[16 / LANES];
#if LANES == 8
  static constexpr bool worthIt = true;

  TileHalves(const void* tiles, int32_t n, int32_t groups)
      : from((const uint8_t*)tiles + (size_t)(n / 16) * groups * 32) {}
  void next() {
    /* Scales of the next rows: a stream beside that of the codes (prefetchBehind). */
    __builtin_prefetch(from + 2048);
#pragma GCC unroll 2
    for (int v = 0; v < 16 / LANES; v++) of[v] = loadFloat<FLOAT16>(from, v * LANES);
    from += 32;
  }
  bool finite() const { return true; }
#elif LANES == 4 && !defined(__ARM_NEON)
  static constexpr bool worthIt = true;
  typedef uint16_t u16x8 __attribute__((vector_size(16)));
  u32v kept = splat(0x8fffffffu);
  f32v scale = splat(0x1p112f);
  u16x8 largest = {};

  TileHalves(const void* tiles, int32_t n, int32_t groups)
      : from((const uint8_t*)tiles + (size_t)(n / 16) * groups * 32) {
    opaque(kept), opaque(scale);
  }
  void next() {
    opaque(from);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
      const u16x8 halves = loadAs<u16x8>(from + 16 * i), twice = halves + halves;
      largest = twice > largest ? twice : largest;
      /* In the upper half of a lane; moved to its place the sign leaves copies behind, as in decodeHalves. */
      const i32v low = (i32v)__builtin_shufflevector(u16x8{}, halves, 0, 8, 1, 9, 2, 10, 3, 11);
      const i32v high = (i32v)__builtin_shufflevector(u16x8{}, halves, 4, 12, 5, 13, 6, 14, 7, 15);
      of[2 * i] = floatOf((u32v)(low >> 3) & kept) * scale;
      of[2 * i + 1] = floatOf((u32v)(high >> 3) & kept) * scale;
    }
    from += 32;
  }
  bool finite() const { return !any((i32v)(largest >= 0xf800)); }
#else
  static constexpr bool worthIt = false;
  TileHalves(const void*, int32_t, int32_t) {}
  void next() {}
  bool finite() const { return true; }
#endif
};

/* LANES float32 to p[index] on, each rounded to the nearest value of dtype, ties to even. */
template <int dtype> INLINE void storeFloat(void* p, size_t index, f32v v) {
  if constexpr (dtype == FLOAT32) return store((float*)p + index, v);
  if constexpr (dtype == BFLOAT16) {
    u32v bits = bitsOf(v);
    u32v rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    rounded = (bits & 0x7fffffffu) > 0x7f800000u ? splat((uint32_t)0x7fc0) : rounded;
    return storeAs((uint16_t*)p + index, __builtin_convertvector(rounded, u16v));
  }
  if constexpr (dtype == FLOAT16) {
    return storeAs((uint16_t*)p + index, __builtin_convertvector(encodeSmall<FLOAT16, f32v, u32v>(v), u16v));
  }
  if constexpr (dtype >= FLOAT8_E4M3FN) {
    return storeAs((uint8_t*)p + index, narrowBytes((i32v)encodeSmall<dtype, f32v, u32v>(v)));
  }
}

/* The float32 that the pattern of a float dtype stands for (a float32's own pattern included). */
INLINE float toFloat(uint32_t pattern, int32_t dtype) {
  switch (dtype) {
    case FLOAT16: return decodeSmall<FLOAT16, float>(pattern);
    case BFLOAT16: return floatOf(pattern << 16);
    case FLOAT8_E4M3FN: return decodeSmall<FLOAT8_E4M3FN, float>(pattern);
    case FLOAT8_E5M2: return decodeSmall<FLOAT8_E5M2, float>(pattern);
    case FLOAT8_E4M3FNUZ: return decodeSmall<FLOAT8_E4M3FNUZ, float>(pattern);
    case FLOAT8_E8M0FNU: return floatOf(pattern == 255 ? 0x7fc00000u : pattern ? pattern << 23 : 1u << 22);
    case FLOAT32: return floatOf(pattern);
    default: __builtin_trap();
  }
}

/* The exponent of the power of two nearest to |x|, the larger one in the middle. */
INLINE uint32_t encodeScale(float x) {
  uint32_t exponent = bitsOf(x) >> 23 & 255, mantissa = bitsOf(x) & 0x7fffffu;
  if (exponent == 255) return 255;
  return exponent + (mantissa > 0x400000u || (mantissa == 0x400000u && exponent > 0));
}

/* The pattern of dtype nearest to x, ties to even. */
INLINE uint32_t fromFloat(float x, int32_t dtype) {
  switch (dtype) {
    case FLOAT16: return encodeSmall<FLOAT16, float, uint32_t>(x);
    case BFLOAT16: return x != x ? 0x7fc0 : (bitsOf(x) + 0x7fff + ((bitsOf(x) >> 16) & 1)) >> 16;
    case FLOAT8_E4M3FN: return encodeSmall<FLOAT8_E4M3FN, float, uint32_t>(x);
    case FLOAT8_E5M2: return encodeSmall<FLOAT8_E5M2, float, uint32_t>(x);
    case FLOAT8_E4M3FNUZ: return encodeSmall<FLOAT8_E4M3FNUZ, float, uint32_t>(x);
    case FLOAT8_E8M0FNU: return encodeScale(x);
    case FLOAT32: return bitsOf(x);
    default: __builtin_trap();
  }
}

/* x rounded to the nearest value of dtype. */
INLINE float roundTo(float x, int32_t dtype) { return toFloat(fromFloat(x, dtype), dtype); }

/* p[index] of a float dtype, read and written one value at a time. */
INLINE float readFloat(const void* p, int32_t dtype, size_t index) {
  uint32_t pattern = 0;
  int32_t bytes = bytesOf(dtype);
  const uint8_t* from = (const uint8_t*)p + index * bytes;
  if (bytes == 4) __builtin_memcpy(&pattern, from, 4);
  else if (bytes == 2) __builtin_memcpy(&pattern, from, 2);
  else pattern = *from;
  return toFloat(pattern, dtype);
}

INLINE void writeFloat(void* p, int32_t dtype, size_t index, float x) {
  uint32_t pattern = fromFloat(x, dtype);
  int32_t bytes = bytesOf(dtype);
  uint8_t* to = (uint8_t*)p + index * bytes;
  if (bytes == 4) __builtin_memcpy(to, &pattern, 4);
  else if (bytes == 2) __builtin_memcpy(to, &pattern, 2);
  else *to = (uint8_t)pattern;
}

/*
 * body(constant) with the float dtype as a compile-time constant: inside, `constexpr int dtype =
 * constant.value` picks the code. Another dtype ends the process; powers of two (e8m0) are read one by one.
 */
template <class Body> INLINE void withFloat(int32_t dtype, Body&& body) {
  switch (dtype) {
    case FLOAT16: return body(Constant<FLOAT16>{});
    case BFLOAT16: return body(Constant<BFLOAT16>{});
    case FLOAT8_E4M3FN: return body(Constant<FLOAT8_E4M3FN>{});
    case FLOAT8_E5M2: return body(Constant<FLOAT8_E5M2>{});
    case FLOAT8_E4M3FNUZ: return body(Constant<FLOAT8_E4M3FNUZ>{});
    case FLOAT32: return body(Constant<FLOAT32>{});
    default: __builtin_trap();
  }
}

/* The same for the dtypes that weights have: float32, float16 and bfloat16. Another one ends the process. */
template <class Body> INLINE void withWeightFloat(int32_t dtype, Body&& body) {
  switch (dtype) {
    case FLOAT32: return body(Constant<FLOAT32>{});
    case FLOAT16: return body(Constant<FLOAT16>{});
    case BFLOAT16: return body(Constant<BFLOAT16>{});
    default: __builtin_trap();
  }
}

/* The same for the dtypes that quantized codes have. */
template <class Body> INLINE void withFloat8(int32_t dtype, Body&& body) {
  switch (dtype) {
    case FLOAT8_E4M3FN: return body(Constant<FLOAT8_E4M3FN>{});
    case FLOAT8_E5M2: return body(Constant<FLOAT8_E5M2>{});
    case FLOAT8_E4M3FNUZ: return body(Constant<FLOAT8_E4M3FNUZ>{});
    default: __builtin_trap();
  }
}

/*
 * The first n < LANES values of a float dtype, zeros behind them; nothing past them is touched. The ends of
 * rows are rare: one function serves all kernels.
 */
OUTLINE f32v loadFloatPartial(const void* p, int32_t dtype, size_t index, int32_t n) {
  f32v v = {};
  for (int32_t i = 0; i < n; i++) v[i] = readFloat(p, dtype, index + i);
  return v;
}
OUTLINE void storeFloatPartial(void* p, int32_t dtype, size_t index, f32v v, int32_t n) {
  for (int32_t i = 0; i < n; i++) writeFloat(p, dtype, index + i, v[i]);
}

}  // namespace LOWBIT_ISA
