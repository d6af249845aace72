#pragma once
#include "lines.h"

/* Sums of a tile, and what they become. */

namespace LOWBIT_ISA {

/* A quad of weights and the words that it meets: offsets in words. */
struct Step {
  int32_t x, w;
};

/* How the sums of a channel become values: value = (float)(start + sum) · factor + bias. */
struct Channel {
  float factor, bias;
  int32_t start;
  const uint32_t* w;
};

/* What values are limited to; of codes, the bounds as codes and the reciprocal of their scale. */
struct Range {
  float low, high;
  bool codes;
  float inverse;
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
    storeAs(codes + v * LANES, __builtin_convertvector(convert(roundHalfEven(values[v])), u8v));
  if (count >= TILE_PIXELS) __builtin_memcpy(to, codes, TILE_PIXELS);
  else __builtin_memcpy(to, codes, count);
}

/* What a row of tiles is computed from, and where it goes. */
struct TileRow {
  const Step* steps;
  int32_t stepCount;
  const uint32_t* words;
  const Channel* channels;
  int32_t rows; /* channels that are there: the others of a tile are computed as the last */
  /* Sums of the steps before, unless these are the first; where more follow, those of these steps. */
  bool first, last;
  int32_t* sums;
  size_t sumStride; /* from tile to tile */
  Range range;
  uint8_t* to;
  size_t plane; /* bytes from channel to channel */
};

/*
 * So many channels at `tiles` tiles of so many vectors, the last of which has `count` positions; the row goes
 * on behind them.
 */
template <int channels, int vectors>
static void multiplyTiles(TileRow& row, int32_t tiles, int32_t count) {
  const Step* steps = row.steps;
  const int32_t stepCount = row.stepCount, rows = row.rows;
  const uint32_t* w[channels];
#pragma GCC unroll 4
  for (int r = 0; r < channels; r++) w[r] = row.channels[r < rows ? r : rows - 1].w;
  for (; tiles > 0; tiles--) {
    i32v dots[channels][vectors];
#pragma GCC unroll 4
    for (int r = 0; r < channels; r++) {
      const int32_t start = row.channels[r < rows ? r : rows - 1].start;
      for (int v = 0; v < vectors; v++)
        dots[r][v] = row.first ? splat(start) : load(row.sums + (r * PIXEL_VECTORS + v) * LANES);
    }
    const uint32_t* words = row.words;
    for (int32_t i = 0; i < stepCount; i++) {
      const uint32_t* x = words + steps[i].x;
      const size_t at = steps[i].w;
      u32v pixels[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) pixels[v] = loadAs<u32v>(x + v * LANES);
#pragma GCC unroll 4
      for (int r = 0; r < channels; r++) {
        const u32v weights = splat(w[r][at]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) dots[r][v] = dotInt8(dots[r][v], pixels[v], weights);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < channels; r++) {
      if (!row.last) {
        for (int v = 0; v < vectors; v++) store(row.sums + (r * PIXEL_VECTORS + v) * LANES, dots[r][v]);
      } else if (r < rows) {
        const Channel& channel = row.channels[r];
        f32v values[vectors];
        for (int v = 0; v < vectors; v++) values[v] = convert(dots[r][v]) * channel.factor + channel.bias;
        storeValues(values, row.range, tiles > 1 ? vectors * LANES : count, row.to + r * row.plane);
      }
    }
    row.words += vectors * LANES;
    row.to += vectors * LANES * (row.range.codes ? 1 : 4);
    row.sums += row.sumStride;
  }
}

/* The last positions, of so many vectors. */
template <int channels, int vectors> INLINE void multiplyRest(TileRow& row, int32_t count) {
  if constexpr (vectors > 1 && LANES == 16)
    if (count <= (vectors - 1) * LANES) return multiplyRest<channels, vectors - 1>(row, count);
  multiplyTiles<channels, vectors>(row, 1, count);
}

template <int channels> static void multiplyRow(TileRow row, int32_t count) {
  const int32_t tiles = count / TILE_PIXELS, rest = count - tiles * TILE_PIXELS;
  if (tiles > 0) multiplyTiles<channels, PIXEL_VECTORS>(row, tiles, TILE_PIXELS);
  if (rest > 0) multiplyRest<channels, PIXEL_VECTORS>(row, rest);
}

}  // namespace LOWBIT_ISA
