#pragma once
/* Integer dot products, four bytes a lane; a part of simd.h, which includes it. */

namespace LOWBIT_ISA {

/*
 * Each lane holds four bytes. Both add the four products of a lane to sums, exactly:
 *
 *     dotCodes(sums, u, s) = sums + Σ u·s                   u 0 … 127, s −128 … 127
 *     dotInt8(sums, w + INT8_OFFSET, s) = sums + Σ (w + INT8_OFFSET)·s   w, s −128 … 127, not both −128
 *
 * What is added to w there the caller takes away again, as INT8_OFFSET · Σ s: where one factor must be
 * unsigned, w is moved up.
 */
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__) || defined(__wasm_relaxed_simd__)
constexpr int32_t INT8_OFFSET = 128;
#else
constexpr int32_t INT8_OFFSET = 0;
#endif

#if LANES == 4 && !defined(__SSE4_1__) && !defined(__wasm_relaxed_simd__)
/* Both factors signed: the widest sum of two products, 2·128·127, fits 16 bits. */
INLINE i32v dotSigned(i32v sums, u32v a, u32v b) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(sums, (int8x16_t)a, (int8x16_t)b);
#elif defined(__ARM_NEON)
  int16x8_t low = vmull_s8(vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b));
  int16x8_t high = vmull_s8(vget_high_s8((int8x16_t)a), vget_high_s8((int8x16_t)b));
  return sums + (i32v)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
#else
  typedef int16_t i16v __attribute__((vector_size(16)));
  i16v pairs = ((i16v)a << 8 >> 8) * ((i16v)b << 8 >> 8) + ((i16v)a >> 8) * ((i16v)b >> 8);
  return sums + (i32v)wasm_i32x4_extadd_pairwise_i16x8((v128_t)pairs);
#endif
}
#endif

INLINE i32v dotCodes(i32v sums, u32v u, u32v s) {
#if LANES == 16
  return (i32v)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)u, (__m512i)s);
#elif LANES == 8 && defined(__AVXVNNI__)
  return (i32v)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)u, (__m256i)s);
#elif LANES == 8
  return sums + (i32v)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)u, (__m256i)s), _mm256_set1_epi16(1));
#elif defined(__SSE4_1__)
  return sums + (i32v)_mm_madd_epi16(_mm_maddubs_epi16((__m128i)u, (__m128i)s), _mm_set1_epi16(1));
#elif defined(__wasm_relaxed_simd__)
  return (i32v)wasm_i32x4_relaxed_dot_i8x16_i7x16_add((v128_t)s, (v128_t)u, (v128_t)sums);
#else
  return dotSigned(sums, u, s);
#endif
}

/*
 * x may be -128: activations beyond their scale are. Without VNNI that rules out maddubs with the sign moved
 * to the other factor.
 */
INLINE i32v dotInt8(i32v sums, u32v w, u32v s) {
#if LANES == 16 || defined(__AVXVNNI__)
  return dotCodes(sums, w, s);
#elif LANES == 8
  /*
   * Even and odd bytes apart, as 16-bit numbers: the trick with |w| and maddubs would lose the sign of s =
   * -128.
   */
  __m256i evens = _mm256_madd_epi16(_mm256_srai_epi16(_mm256_slli_epi16((__m256i)w, 8), 8),
                                    _mm256_srai_epi16(_mm256_slli_epi16((__m256i)s, 8), 8));
  return sums + (i32v)evens +
         (i32v)_mm256_madd_epi16(_mm256_srai_epi16((__m256i)w, 8), _mm256_srai_epi16((__m256i)s, 8));
#elif defined(__SSE4_1__)
  __m128i evens = _mm_madd_epi16(_mm_srai_epi16(_mm_slli_epi16((__m128i)w, 8), 8),
                                 _mm_srai_epi16(_mm_slli_epi16((__m128i)s, 8), 8));
  return sums + (i32v)evens +
         (i32v)_mm_madd_epi16(_mm_srai_epi16((__m128i)w, 8), _mm_srai_epi16((__m128i)s, 8));
#elif defined(__wasm_relaxed_simd__)
  /* The unsigned factor may have 7 bits: w = 16·high + low. */
  return dotCodes(sums, w & 0x0f0f0f0fu, s) + (dotCodes(i32v{}, (w >> 4) & 0x0f0f0f0fu, s) << 4);
#else
  return dotSigned(sums, w, s);
#endif
}

/*
 * Where a dot product takes more than one instruction, the products of neighbouring bytes are added up in 16
 * bits first:
 *
 *     dotPairs(u, s) = u₀·s₀ + u₁·s₁, u₂·s₂ + u₃·s₃ of each lane, 16 bits each       u 0 … 127, s −128 … 127
 *     sumPairs(pairs) = the sum of both of each lane, 32 bits
 *
 * 16 bits hold the sum of eight results for u up to 15, of four for u up to 31, of two for u up to 63.
 */
typedef int16_t i16v __attribute__((vector_size(LANES * 4)));

#if LANES == 16 || defined(__AVXVNNI__) || defined(__ARM_NEON)
constexpr bool HAS_PAIRS = false;
INLINE i16v dotPairs(u32v, u32v) { return i16v{}; }
INLINE i32v sumPairs(i16v) { return i32v{}; }
#else
constexpr bool HAS_PAIRS = true;

INLINE i16v dotPairs(u32v u, u32v s) {
#if LANES == 8
  return (i16v)_mm256_maddubs_epi16((__m256i)u, (__m256i)s);
#elif defined(__SSE4_1__)
  return (i16v)_mm_maddubs_epi16((__m128i)u, (__m128i)s);
#elif defined(__wasm_relaxed_simd__)
  return (i16v)wasm_i16x8_relaxed_dot_i8x16_i7x16((v128_t)s, (v128_t)u);
#else
  return ((i16v)s << 8 >> 8) * ((i16v)u & 255) + ((i16v)s >> 8) * ((i16v)u >> 8);
#endif
}

INLINE i32v sumPairs(i16v pairs) {
#if LANES == 8
  return (i32v)_mm256_madd_epi16((__m256i)pairs, _mm256_set1_epi16(1));
#elif defined(__SSE4_1__)
  return (i32v)_mm_madd_epi16((__m128i)pairs, _mm_set1_epi16(1));
#else
  return (i32v)wasm_i32x4_extadd_pairwise_i16x8((v128_t)pairs);
#endif
}
#endif

/*
 * Where dotInt8 takes many instructions, what is used often has its bytes widened to 16 bits once:
 *
 *     widenHalf(bytes, half) = bytes 2·half and 2·half + 1 of each lane, 16 bits each
 *     dotWide(sums, a, b) = sums + a₀·b₀ + a₁·b₁ of each lane
 */
#if defined(__SSE4_1__) && LANES < 16 && !defined(__AVXVNNI__)
constexpr bool HAS_WIDE = true;

INLINE i32v dotWide(i32v sums, u32v a, u32v b) {
#if LANES == 8
  return sums + (i32v)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  return sums + (i32v)_mm_madd_epi16((__m128i)a, (__m128i)b);
#endif
}
/* 2 · LANES signed bytes as numbers of 16 bits, by name: GCC 12 makes of a conversion two halves. */
INLINE i16v widenSigned(const uint8_t* bytes) {
#if LANES == 8
  return (i16v)_mm256_cvtepi8_epi16(loadAs<__m128i>(bytes));
#else
  return (i16v)_mm_cvtepi8_epi16(_mm_cvtsi64_si128(loadAs<int64_t>(bytes)));
#endif
}
#else
constexpr bool HAS_WIDE = false;
INLINE i32v dotWide(i32v sums, u32v, u32v) { return sums; }
INLINE i16v widenSigned(const uint8_t*) { return i16v{}; }
#endif

INLINE u32v widenHalf(u32v bytes, int half) {
  u32v high = half ? bytes : bytes << 16;
  return ((u32v)((i32v)high >> 8) & 0xffff0000u) | ((u32v)((i32v)(high << 8) >> 24) & 0xffffu);
}

/*
 * Where dotInt8 takes many instructions, dotCodes does for factors x that are not negative, and for weights
 * w ^ 0x80 = w + 128 as unsigned bytes, where
 *
 *     neighboursFit(x): x₀ + x₁ and x₂ + x₃ of each lane lie in −128 … 128, and 255 times them fits 16 bits
 *     sumTimes<factor>(sums, x) = sums + factor · Σ x
 *
 * For others it takes two steps more:
 *
 *     dotMagnitudes(sums, |x|, signs(x), w ^ 0x80) = sums + Σ x·w + Σ min(x, 0)
 *
 * since |x| · ~w = x·w + x. What does not depend on w the caller takes away again. |−128| is 128 as an
 * unsigned byte; sums of two products, at least −2·128·128, fit 16 bits.
 */
constexpr uint32_t OFFSET_BYTES = 0x80808080u;
#if defined(__SSE4_1__) && LANES < 16 && !defined(__AVXVNNI__)
constexpr bool HAS_MAGNITUDES = true;

INLINE u32v magnitudes(u32v x) {
#if LANES == 8
  return (u32v)_mm256_abs_epi8((__m256i)x);
#else
  return (u32v)_mm_abs_epi8((__m128i)x);
#endif
}
/* 0x7f in each byte that is negative, 0x80 in the others. */
INLINE u32v signs(u32v x) {
#if LANES == 8
  return (u32v)_mm256_cmpgt_epi8(_mm256_setzero_si256(), (__m256i)x) ^ OFFSET_BYTES;
#else
  return (u32v)_mm_cmplt_epi8((__m128i)x, _mm_setzero_si128()) ^ OFFSET_BYTES;
#endif
}
INLINE u32v negatives(u32v x) {
#if LANES == 8
  return (u32v)_mm256_min_epi8(_mm256_setzero_si256(), (__m256i)x);
#else
  return (u32v)_mm_min_epi8((__m128i)x, _mm_setzero_si128());
#endif
}
INLINE bool neighboursFit(u32v x) {
#if LANES == 8
  const __m256i sums = _mm256_maddubs_epi16(_mm256_set1_epi8(1), (__m256i)x);
  const __m256i large = _mm256_cmpgt_epi16(_mm256_abs_epi16(sums), _mm256_set1_epi16(128));
  return _mm256_testz_si256(large, large);
#else
  const __m128i sums = _mm_maddubs_epi16(_mm_set1_epi8(1), (__m128i)x);
  const __m128i large = _mm_cmpgt_epi16(_mm_abs_epi16(sums), _mm_set1_epi16(128));
  return _mm_testz_si128(large, large);
#endif
}
template <int factor> INLINE i32v sumTimes(i32v sums, u32v x) {
#if LANES == 8
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), (__m256i)x);
  return sums + (i32v)_mm256_madd_epi16(pairs, _mm256_set1_epi16(factor));
#else
  const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), (__m128i)x);
  return sums + (i32v)_mm_madd_epi16(pairs, _mm_set1_epi16(factor));
#endif
}
#else
constexpr bool HAS_MAGNITUDES = false;
INLINE u32v magnitudes(u32v x) { return x; }
INLINE u32v signs(u32v x) { return x; }
INLINE u32v negatives(u32v x) { return x; }
INLINE bool neighboursFit(u32v) { return true; }
template <int> INLINE i32v sumTimes(i32v sums, u32v) { return sums; }
#endif

INLINE i32v dotMagnitudes(i32v sums, u32v magnitudes, u32v signs, u32v w) {
  return dotCodes(sums, magnitudes, w ^ signs);
}

/*
 * Bytes of LANES / 2 rows from `bytes` on, signed or not, times those of s, in 16 bits: row r's products are
 * added to lanes 2·r and 2·r + 1 of sums. addNeighbours makes of such sums of the first and of the second
 * half of the rows one lane a row.
 */
template <bool isSigned> INLINE i32v dotHalves(i32v sums, const uint8_t* bytes, u32v s) {
#if LANES == 4 && defined(__SSE4_1__)
  const __m128i w = _mm_cvtsi64_si128(loadAs<int64_t>(bytes));
  return sums + (i32v)_mm_madd_epi16(isSigned ? _mm_cvtepi8_epi16(w) : _mm_cvtepu8_epi16(w),
                                     _mm_cvtepi8_epi16((__m128i)s));
#elif defined(__wasm_simd128__)
  const v128_t w = isSigned ? wasm_i16x8_load8x8(bytes) : wasm_u16x8_load8x8(bytes);
  return sums + (i32v)wasm_i32x4_dot_i16x8(w, wasm_i16x8_extend_low_i8x16((v128_t)s));
#else
  return sums;
#endif
}
INLINE i32v addNeighbours(i32v first, i32v second) {
#if LANES == 4
  return __builtin_shufflevector(first, second, 0, 2, 4, 6) +
         __builtin_shufflevector(first, second, 1, 3, 5, 7);
#else
  return first + second;
#endif
}

/*
 * Whether dotPairs is faster than dotCodes here. A relaxed dot product is one instruction or several, as the
 * machine has it; what it makes of u = 255 tells which: 4·255·127 is vpdpbusd, 4·(−1)·127 ARM's, and two
 * products cut off at 16 bits are x86 without either.
 * V8 makes one instruction of a relaxed dot product only with AVX-VNNI, else five. One thread on a Zen 4, M =
 * 512: qint4 59 → 104, qint8 26 → 53 GOP/s with pairs, of 236 that vpdpbusd could do.
 */
INLINE bool pairsAreFaster() {
#if defined(__wasm_relaxed_simd__)
  return dotCodes(i32v{}, splat(0xffffffffu), splat(0x7f7f7f7fu))[0] == 2 * 32767;
#else
  return HAS_PAIRS;
#endif
}

}  // namespace LOWBIT_ISA
