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
 * What values are limited to; of codes, the bounds as codes and the reciprocal of their scale. `codesAlone`:
 * sums become codes and nothing else; on AVX2, too, that all of them surely fit integers before they are
 * limited.
 */
struct Range {
  float low, high, inverse, least, most;
  bool codesAlone;
};

/*
 * Where floats and codes of outputs go, and what is added to them; null: not asked for. All lie alike, so
 * that a sum may take the place of what was added to it.
 */
struct Outputs {
  float* y;
  uint8_t* codes;
  const float* addend;

  Outputs at(size_t place) const {
    return {y ? y + place : y, codes ? codes + place : codes, addend ? addend + place : addend};
  }
};

#if LANES == 8
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

/* The codes nearest to the first `count` values of a tile, in units of their scale, from least to most. */
template <int vectors>
INLINE void storeNearest(f32v (&units)[vectors], float least, float most, int32_t count, uint8_t* to) {
#if LANES == 16
  /* What is too large for an int32 would become the least one; packing cuts off all else. */
  __m512i whole[4] = {};
  for (int v = 0; v < vectors; v++) whole[v] = _mm512_cvtps_epi32(min(splat(127.0f), units[v]));
  const __m512i low = _mm512_packs_epi32(whole[0], whole[1]), high = _mm512_packs_epi32(whole[2], whole[3]);
  const __m512i codes = _mm512_permutexvar_epi32(wordColumns(), _mm512_packs_epi16(low, high));
  _mm512_mask_storeu_epi8(
      to, count >= 64 ? ~0ull : (1ull << count) - 1,
      _mm512_max_epi8(_mm512_min_epi8(codes, _mm512_set1_epi8((char)most)), _mm512_set1_epi8((char)least)));
#elif LANES == 8
  __m256i whole[2] = {};
  for (int v = 0; v < vectors; v++) whole[v] = _mm256_cvtps_epi32(min(splat(most), units[v]));
  const __m256i columns = _mm256_permute4x64_epi64(_mm256_packs_epi32(whole[0], whole[1]), 0xd8);
  const __m128i high = _mm256_extracti128_si256(columns, 1);
  const __m128i codes = _mm_packs_epi16(_mm256_castsi256_si128(columns), high);
  storeCodes(_mm_max_epi8(codes, _mm_set1_epi8((char)least)), count, to);
#else
  uint8_t codes[TILE_PIXELS];
  for (int v = 0; v < vectors; v++) {
    const f32v within = max(min(splat(most), units[v]), splat(least));
    storeAs(codes + v * LANES, narrowBytes(convert(roundHalfEven(within))));
  }
  placeBytes(codes, count < vectors * LANES ? count : vectors * LANES, to);
#endif
}

/*
 * What `count` sums of a channel become that are not codes alone, from tile to tile so far from each other.
 * What is not a number stays so, and has the code of 0.
 */
INLINE void finishValues(Channel channel, Range range, const int32_t* sums, size_t sumStride, int32_t count,
                         Outputs to) {
  const auto finish = [&](auto whole, int32_t at) {
    const int32_t some = whole.value ? TILE_PIXELS : count - at;
    f32v values[PIXEL_VECTORS];
    for (int v = 0; v < PIXEL_VECTORS; v++) {
      const int32_t i = at + v * LANES, left = some - v * LANES;
      values[v] = convert(load(sums + v * LANES)) * channel.factor + channel.bias;
      if (to.addend) values[v] += loadUpTo(to.addend + i, left);
      values[v] = max(splat(range.low), min(splat(range.high), values[v]));
      if (to.y) storeUpTo(to.y + i, values[v], left);
    }
    if (!to.codes) return;
    for (f32v& value : values) {
      value *= range.inverse;
      value = select(value == value, value, f32v{});
    }
    storeNearest(values, -128, 127, some, to.codes + at);
  };
  int32_t at = 0;
  for (; at <= count - TILE_PIXELS; at += TILE_PIXELS, sums += sumStride) finish(Constant<true>{}, at);
  if (at < count) finish(Constant<false>{}, at);
}

#if LANES == 8
/* Range of codes, for vectors. */
struct CodeLimits {
  f32v inverse;
  __m256i least, most;

  CodeLimits(const Range& range)
      : inverse(splat(range.inverse)), least(_mm256_set1_epi8((char)range.least)),
        most(_mm256_set1_epi8((char)range.most)) {}
};

/*
 * Codes alone of `count` sums of a channel, from tile to tile so far from each other: packing cuts off what
 * does not fit. So many bytes may be written as there is `room` for: whatever lies behind them is written
 * later.
 */
INLINE void finishCodes(Channel channel, CodeLimits limits, const int32_t* sums, size_t sumStride,
                        int32_t count, uint8_t* to, ptrdiff_t room) {
  const __m256i columns = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
  const auto whole = [&](const int32_t* tile) {
    __m256i units[2];
    for (int v = 0; v < 2; v++) {
      const f32v value = convert(load(tile + v * LANES)) * channel.factor + channel.bias;
      units[v] = _mm256_cvtps_epi32(value * limits.inverse);
    }
    return _mm256_packs_epi32(units[0], units[1]);
  };
  for (int32_t at = 0; at < count; at += 2 * TILE_PIXELS, sums += 2 * sumStride) {
    /* The second tile may be what was there before: it is not stored. */
    const __m256i both = _mm256_packs_epi16(whole(sums), whole(sums + sumStride));
    const __m256i codes = _mm256_max_epi8(_mm256_min_epi8(both, limits.most), limits.least);
    storeCodes(_mm256_permutevar8x32_epi32(codes, columns), room - at < 32 ? count - at : 32, to + at);
  }
}
#endif

}  // namespace LOWBIT_ISA
