#pragma once
/*
 * What the kernels use of AVX-512, written out: included before everything else, it makes a compiler with
 * AVX2 take that path. Masks leave lanes out as the instructions do: nothing there is read or written.
 */
#include "lanes.h"

namespace emulated {

using Ints = __m512i;
using Floats = __m512;

template <class T, class V> V loadMasked(uint64_t mask, const void* from) {
  Lanes<T, V> to;
  for (int i = 0; i < to.count; i++)
    if (mask >> i & 1) memcpy(&to[i], (const T*)from + i, sizeof(T));
  return to;
}
template <class T, class V> void storeMasked(void* to, uint64_t mask, V v) {
  Lanes<T, V> from(v);
  for (int i = 0; i < from.count; i++)
    if (mask >> i & 1) memcpy((T*)to + i, &from[i], sizeof(T));
}

inline Floats cvtph(__m256i halves) {
  Lanes<__m128i, __m256i> from(halves);
  Lanes<__m256, Floats> to;
  for (int i = 0; i < 2; i++) to[i] = _mm256_cvtph_ps(from[i]);
  return to;
}
inline Ints cvtps(Floats x) {
  return each<float, int32_t, Ints>(x, [](float value) { return _mm_cvtss_si32(_mm_set_ss(value)); });
}
inline Floats fmadd(Floats a, Floats b, Floats c) {
  Lanes<float, Floats> x(a), y(b), to(c);
  for (int i = 0; i < 16; i++) to[i] = fmaf(x[i], y[i], to[i]);
  return to;
}

/* Each lane as another number, of which the lower bits are kept; zeros in what is behind the last. */
template <class From, class To, class Result, class V> Result converted(V v) {
  Lanes<From, V> from(v);
  Lanes<To, Result> to;
  for (int i = 0; i < from.count; i++) to[i] = (To)from[i];
  return to;
}
/* Within each 128 bits the lanes of a, then those of b, cut off at half the bits. */
template <class From, class To> Ints packs(Ints a, Ints b) {
  constexpr int each = 16 / sizeof(From), least = -(1 << (8 * sizeof(To) - 1));
  Lanes<From, Ints> x(a), y(b);
  Lanes<To, Ints> to;
  for (int i = 0; i < to.count; i++) {
    const int at = i / (2 * each) * each + i % each;
    const int value = i % (2 * each) < each ? x[at] : y[at];
    to[i] = (To)(value < least ? least : value > -least - 1 ? -least - 1 : value);
  }
  return to;
}
/* Within each 128 bits the lower, or upper, lanes of a and b by turns. */
template <class T, bool upper> Ints unpack(Ints a, Ints b) {
  constexpr int each = 16 / sizeof(T);
  Lanes<T, Ints> x(a), y(b), to;
  for (int i = 0; i < to.count; i++) {
    const int at = i / each * each + i % each / 2 + (upper ? each / 2 : 0);
    to[i] = i % 2 ? y[at] : x[at];
  }
  return to;
}
/* v[index], lane by lane; of two vectors the second begins behind the first. */
template <class T, class V> V permute(Ints index, V v) {
  Lanes<T, Ints> at(index);
  Lanes<T, V> from(v), to;
  for (int i = 0; i < to.count; i++) to[i] = from[at[i] & (to.count - 1)];
  return to;
}
inline Floats permuteTwo(Floats a, Ints index, Floats b) {
  Lanes<uint32_t, Ints> at(index);
  Lanes<float, Floats> x(a), y(b), to;
  for (int i = 0; i < 16; i++) to[i] = at[i] & 16 ? y[at[i] & 15] : x[at[i] & 15];
  return to;
}
/* The first lanes of v at the places of the mask, zeros elsewhere. */
inline Floats expand(uint32_t mask, Floats v) {
  Lanes<float, Floats> from(v), to;
  for (int i = 0, next = 0; i < 16; i++)
    if (mask >> i & 1) to[i] = from[next++];
  return to;
}
inline uint32_t testMask(Ints a, Ints b) {
  Lanes<uint32_t, Ints> x(a), y(b);
  uint32_t mask = 0;
  for (int i = 0; i < 16; i++) mask |= (x[i] & y[i] ? 1u : 0u) << i;
  return mask;
}

/* To the nearest, ties to even; subnormal numbers are zeros to these instructions. */
inline uint16_t toBfloat16(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  if (value != value) return bits >> 16 | 0x40;
  if ((bits & 0x7f800000) == 0) return bits >> 16 & 0x8000;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline float fromBfloat16(uint16_t bits) { return __builtin_bit_cast(float, (uint32_t)bits << 16); }
inline Ints pairsToBfloat16(Floats second, Floats first) {
  Lanes<float, Floats> x(first), y(second);
  Lanes<uint16_t, Ints> to;
  for (int i = 0; i < 32; i++) to[i] = toBfloat16(i < 16 ? x[i] : y[i - 16]);
  return to;
}
inline Floats dotBfloat16(Floats sums, Ints a, Ints b) {
  Lanes<float, Floats> to(sums);
  Lanes<uint16_t, Ints> x(a), y(b);
  for (int i = 0; i < 16; i++)
    for (int j = 2 * i + 1; j >= 2 * i; j--) to[i] += fromBfloat16(x[j]) * fromBfloat16(y[j]);
  return to;
}

template <class T, class V> V least(V a, V b) {
  return both<T>(a, b, [](T x, T y) { return x < y ? x : y; });
}
template <class T, class V> V largest(V a, V b) {
  return both<T>(a, b, [](T x, T y) { return x > y ? x : y; });
}
inline Ints differing(Ints a, Ints b) {
  return both<uint64_t>(a, b, [](uint64_t x, uint64_t y) { return x ^ y; });
}
inline Floats roundEven(Floats x, int) {
  return each<float, float, Floats>(x, [](float value) { return nearbyintf(value); });
}
inline Floats squareRoot(Floats x) {
  return each<float, float, Floats>(x, [](float value) { return sqrtf(value); });
}
inline Ints bytes(int8_t value) {
  Ints v;
  memset(&v, value, sizeof v);
  return v;
}
template <class... Values> Ints integers(Values... lastFirst) {
  const int32_t values[16] = {lastFirst...};
  Lanes<int32_t, Ints> to;
  for (int i = 0; i < 16; i++) to[i] = values[15 - i];
  return to;
}

}  // namespace emulated

#define __AVX512F__ 1
#define __AVX512BW__ 1
#define __AVX512VL__ 1
#define __AVX512DQ__ 1
#define __AVX512VNNI__ 1
#define __AVX512BF16__ 1
/* Some compilers have no type for pairs of bfloat16 without the instructions. */
#define __m512bh __m512i

#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps emulated::roundEven
#define _mm512_sqrt_ps emulated::squareRoot
#define _mm512_min_ps emulated::least<float>
#define _mm512_max_ps emulated::largest<float>
#define _mm512_min_epi8 emulated::least<int8_t>
#define _mm512_max_epi8 emulated::largest<int8_t>
#define _mm512_max_epu8 emulated::largest<uint8_t>
#define _mm512_max_epi32 emulated::largest<int32_t>
#define _mm512_xor_si512 emulated::differing
#define _mm512_set1_epi8 emulated::bytes
#define _mm512_set_epi32 emulated::integers
#define _mm512_fmadd_ps emulated::fmadd
#define _mm512_dpbusd_epi32 emulated::dotBytes<__m512i>
#define _mm512_dpbf16_ps emulated::dotBfloat16

#define _mm512_cvtepu8_epi32 emulated::converted<uint8_t, int32_t, __m512i>
#define _mm512_cvtepu16_epi32 emulated::converted<uint16_t, int32_t, __m512i>
#define _mm512_cvtepi32_epi8 emulated::converted<int32_t, uint8_t, __m128i>
#define _mm512_cvtepi16_epi8 emulated::converted<int16_t, uint8_t, __m256i>
#define _mm256_cvtepi16_epi8 emulated::converted<int16_t, uint8_t, __m128i>
#define _mm_cvtepi16_epi8 emulated::converted<int16_t, uint8_t, __m128i>
#define _mm512_cvtps_epi32 emulated::cvtps
#define _mm512_cvtph_ps emulated::cvtph
#define _mm512_cvtne2ps_pbh emulated::pairsToBfloat16

#define _mm512_packs_epi32 emulated::packs<int32_t, int16_t>
#define _mm512_packs_epi16 emulated::packs<int16_t, int8_t>
#define _mm512_unpacklo_epi8 emulated::unpack<uint8_t, false>
#define _mm512_unpackhi_epi8 emulated::unpack<uint8_t, true>
#define _mm512_unpacklo_epi16 emulated::unpack<uint16_t, false>
#define _mm512_unpackhi_epi16 emulated::unpack<uint16_t, true>
#define _mm512_permutexvar_ps emulated::permute<uint32_t, __m512>
#define _mm512_permutexvar_epi32 emulated::permute<uint32_t, __m512i>
#define _mm512_permutexvar_epi16 emulated::permute<uint16_t, __m512i>
#define _mm512_permutex2var_ps emulated::permuteTwo
#define _mm512_maskz_expand_ps emulated::expand
#define _mm512_test_epi32_mask emulated::testMask

#define _mm512_loadu_si512(p) emulated::loadMasked<uint64_t, __m512i>(~0ull, p)
#define _mm512_storeu_si512(p, v) emulated::storeMasked<uint64_t, __m512i>(p, ~0ull, v)
#define _mm512_maskz_loadu_ps emulated::loadMasked<float, __m512>
#define _mm512_mask_storeu_ps emulated::storeMasked<float, __m512>
#define _mm512_maskz_loadu_epi8 emulated::loadMasked<uint8_t, __m512i>
#define _mm512_mask_storeu_epi8 emulated::storeMasked<uint8_t, __m512i>
#define _mm256_maskz_loadu_epi8 emulated::loadMasked<uint8_t, __m256i>
#define _mm256_maskz_loadu_epi16 emulated::loadMasked<uint16_t, __m256i>
#define _mm256_mask_storeu_epi8 emulated::storeMasked<uint8_t, __m256i>
#define _mm_maskz_loadu_epi8 emulated::loadMasked<uint8_t, __m128i>
#define _mm_mask_storeu_epi8 emulated::storeMasked<uint8_t, __m128i>
