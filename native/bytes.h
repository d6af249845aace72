#pragma once
/* Bytes to integers and back; a part of simd.h, which includes it. */

namespace LOWBIT_ISA {

/*
 * LANES bytes as integers, by name: of a conversion that makes a vector four times as long GCC 12 makes one
 * of each value.
 */
INLINE i32v widenBytes(u8v bytes) {
#if LANES == 16
  return (i32v)_mm512_cvtepu8_epi32((__m128i)bytes);
#elif LANES == 8
  return (i32v)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(__builtin_bit_cast(int64_t, bytes)));
#elif defined(__SSE4_1__)
  return (i32v)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(__builtin_bit_cast(int32_t, bytes)));
#else
  return __builtin_convertvector(bytes, i32v);
#endif
}

/* The lowest byte of each lane, by name as well. */
INLINE u8v narrowBytes(i32v words) {
#if LANES == 16
  return (u8v)_mm512_cvtepi32_epi8((__m512i)words);
#elif LANES == 8
  const __m256i order = _mm256_set1_epi64x(0x0c080400);
  const __m256i four = _mm256_shuffle_epi8((__m256i)words, order);
  const __m128i all = _mm_unpacklo_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
  return __builtin_bit_cast(u8v, _mm_cvtsi128_si64(all));
#elif defined(__SSE4_1__)
  const __m128i order = _mm_set1_epi32(0x0c080400);
  return __builtin_bit_cast(u8v, _mm_cvtsi128_si32(_mm_shuffle_epi8((__m128i)words, order)));
#else
  return __builtin_convertvector(words, u8v);
#endif
}

/* The bytes of four vectors of numbers from -128 to 127, one behind the other. */
INLINE void storeBytes(uint8_t* to, i32v a, i32v b, i32v c, i32v d) {
#if LANES == 8
  const __m256i low = _mm256_packs_epi32((__m256i)a, (__m256i)b);
  const __m256i high = _mm256_packs_epi32((__m256i)c, (__m256i)d);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  storeAs(to, _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order));
#elif LANES == 4 && defined(__SSE4_1__)
  const __m128i low = _mm_packs_epi32((__m128i)a, (__m128i)b), high = _mm_packs_epi32((__m128i)c, (__m128i)d);
  storeAs(to, _mm_packs_epi16(low, high));
#elif defined(__wasm_simd128__)
  storeAs(to, wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4((v128_t)a, (v128_t)b),
                                      wasm_i16x8_narrow_i32x4((v128_t)c, (v128_t)d)));
#else
  const i32v words[] = {a, b, c, d};
  for (int k = 0; k < 4; k++) storeAs(to + k * LANES, narrowBytes(words[k]));
#endif
}

}  // namespace LOWBIT_ISA
