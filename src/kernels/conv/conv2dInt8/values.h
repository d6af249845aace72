#pragma once
#include "lines.h"

/* What sums become. */

namespace LOWBIT_ISA {

/* How the sums of a channel become values: value = (float)(start + sum) · factor + bias. */
struct Channel {
  float factor, bias;
  int32_t start;
  const uint32_t* w;
};

/*
 * What values are limited to; of codes, the bounds as codes, the reciprocal of their scale, and whether all
 * of them surely fit integers before they are limited.
 */
struct Range {
  float low, high;
  bool codes;
  float inverse;
  bool fits;
};

/* The first `count` values as the nearest codes, or as they are. */
template <int vectors>
INLINE void storeValues(f32v (&values)[vectors], const Range& range, int32_t count, uint8_t* to) {
  if (range.codes) for (int v = 0; v < vectors; v++) values[v] *= range.inverse;
#if LANES == 16
  if (range.codes) {
    /* What is too large for an int32 would become the least one; packing cuts off all else. */
    __m512i whole[4] = {};
    for (int v = 0; v < vectors; v++) whole[v] = _mm512_cvtps_epi32(min(splat(127.0f), values[v]));
    const __m512i low = _mm512_packs_epi32(whole[0], whole[1]), high = _mm512_packs_epi32(whole[2], whole[3]);
    const __m512i codes = _mm512_permutexvar_epi32(wordColumns(), _mm512_packs_epi16(low, high));
    const __m512i least = _mm512_set1_epi8((char)range.low), most = _mm512_set1_epi8((char)range.high);
    _mm512_mask_storeu_epi8(to, count >= 64 ? ~0ull : (1ull << count) - 1,
                            _mm512_max_epi8(_mm512_min_epi8(codes, most), least));
    return;
  }
#endif
  for (int v = 0; v < vectors; v++) values[v] = max(min(splat(range.high), values[v]), splat(range.low));
  if (!range.codes) {
    for (int v = 0; v < vectors; v++) storeUpTo((float*)to + v * LANES, values[v], count - v * LANES);
    return;
  }
  uint8_t codes[TILE_PIXELS];
  for (int v = 0; v < vectors; v++)
    storeAs(codes + v * LANES, narrowBytes(convert(roundHalfEven(values[v]))));
  placeBytes(codes, count < vectors * LANES ? count : vectors * LANES, to);
}

#if LANES == 8
/* Range of codes, for vectors. */
struct CodeLimits {
  f32v inverse;
  __m256i least, most;

  CodeLimits(const Range& range)
      : inverse(splat(range.inverse)), least(_mm256_set1_epi8((char)range.low)),
        most(_mm256_set1_epi8((char)range.high)) {}
};

/*
 * What the sums of a tile of a channel are, as whole numbers of 16 bits, where they fit integers: packing
 * cuts off the rest. It stays within 128 bits.
 */
template <int vectors>
INLINE __m256i wholeValues(const i32v (&sums)[vectors], const Channel& channel, const CodeLimits& range) {
  __m256i whole[2] = {};
  for (int v = 0; v < vectors; v++) {
    const f32v value = convert(sums[v]) * channel.factor + channel.bias;
    whole[v] = _mm256_cvtps_epi32(value * range.inverse);
  }
  return _mm256_packs_epi32(whole[0], whole[1]);
}

INLINE __m256i wholeValues(const int32_t* sums, const Channel& channel, const CodeLimits& range) {
  const i32v both[2] = {load(sums), load(sums + LANES)};
  return wholeValues(both, channel, range);
}

/* Codes of two channels, or rows, out of what they are as whole numbers: 16 of one, 16 of the other. */
INLINE __m256i pairCodes(__m256i a, __m256i b, const CodeLimits& range) {
  const __m256i columns = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
  const __m256i codes = _mm256_max_epi8(_mm256_min_epi8(_mm256_packs_epi16(a, b), range.most), range.least);
  return _mm256_permutevar8x32_epi32(codes, columns);
}

INLINE void storeCodes(__m256i codes, int32_t count, uint8_t* to) {
  if (count >= 32) return storeAs(to, codes);
  uint8_t some[32];
  storeAs(some, codes);
  placeBytes(some, count, to);
}
INLINE void storeCodes(__m128i codes, int32_t count, uint8_t* to) {
  if (count >= 16) return storeAs(to, codes);
  uint8_t some[16];
  storeAs(some, codes);
  placeBytes(some, count, to);
}
#endif

}  // namespace LOWBIT_ISA
