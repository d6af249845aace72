#pragma once
#include "conv.h"

/* Sums of a tile. */

namespace LOWBIT_ISA {

/* A quad of weights and the words that it meets: offsets in words. */
struct Step {
  int32_t x, w;
};

/*
 * How a dot product is made: in one way whatever the factors; or of pixels of 0 … 127; or of their magnitudes
 * and signs, where sums of the negative ones are known.
 */
enum Factors { ANY_FACTORS, CODES, MAGNITUDES };

/* What a row of tiles is computed from, and where it goes. */
struct TileRow {
  const Step* steps;
  int32_t stepCount;
  const uint32_t* words;
  size_t tileWords; /* from tile to tile */
  const int32_t* negatives; /* of each position, −Σ min(pixel, 0); null: no pixel is negative */
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
template <int channels, int vectors, Factors factors>
static void multiplyTiles(TileRow& given, int32_t tiles, int32_t count) {
  /* By itself: nothing that is stored can change it. */
  TileRow row = given;
  const Step* steps = row.steps;
  const int32_t stepCount = row.stepCount, rows = row.rows;
  const uint32_t* w[channels];
#if LANES == 8
  const CodeLimits codes(row.range);
#endif
#pragma GCC unroll 4
  for (int r = 0; r < channels; r++) w[r] = row.channels[r < rows ? r : rows - 1].w;
  for (; tiles > 0; tiles--) {
    i32v dots[channels][vectors];
#pragma GCC unroll 4
    for (int r = 0; r < channels; r++) {
      const int32_t start = INT8_OFFSET ? row.channels[r < rows ? r : rows - 1].start : 0;
      for (int v = 0; v < vectors; v++)
        dots[r][v] = row.first ? splat(start) : load(row.sums + (r * PIXEL_VECTORS + v) * LANES);
      if constexpr (factors == MAGNITUDES)
        for (int v = 0; v < vectors; v++) dots[r][v] += load(row.negatives + v * LANES);
    }
    const uint32_t* words = row.words;
    for (int32_t i = 0; i < stepCount; i++) {
      const uint32_t* x = words + steps[i].x;
      const size_t at = steps[i].w;
      u32v pixels[vectors], negative[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) {
        pixels[v] = loadAs<u32v>(x + v * LANES);
        if constexpr (factors == MAGNITUDES) {
          negative[v] = signs(pixels[v]);
          pixels[v] = magnitudes(pixels[v]);
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < channels; r++) {
        const u32v weights = splat(w[r][at]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
          if constexpr (factors == CODES) dots[r][v] = dotCodes(dots[r][v], pixels[v], weights);
          else if constexpr (factors == MAGNITUDES)
            dots[r][v] = dotMagnitudes(dots[r][v], pixels[v], negative[v], weights);
          else dots[r][v] = dotInt8(dots[r][v], pixels[v], weights);
        }
      }
    }
    const int32_t known = tiles > 1 ? vectors * LANES : count;
#if LANES == 8
    if (row.last && row.range.codes && row.range.fits) {
#pragma GCC unroll 2
      for (int r = 0; r < channels && r < rows; r += 2) {
        const int second = r + 1 < rows ? r + 1 : r;
        const __m256i whole = wholeValues(dots[r], row.channels[r], codes);
        const __m256i next =
            channels > 1 ? wholeValues(dots[(r + 1) % channels], row.channels[second], codes) : whole;
        const __m256i both = pairCodes(whole, next, codes);
        storeCodes(_mm256_castsi256_si128(both), known, row.to + r * row.plane);
        if (second > r) storeCodes(_mm256_extracti128_si256(both, 1), known, row.to + second * row.plane);
      }
    } else
#endif
#pragma GCC unroll 4
    for (int r = 0; r < channels; r++) {
      if (!row.last) {
        for (int v = 0; v < vectors; v++) store(row.sums + (r * PIXEL_VECTORS + v) * LANES, dots[r][v]);
      } else if (r < rows) {
        const Channel& channel = row.channels[r];
        f32v values[vectors];
        for (int v = 0; v < vectors; v++) values[v] = convert(dots[r][v]) * channel.factor + channel.bias;
        storeValues(values, row.range, known, row.to + r * row.plane);
      }
    }
    row.words += row.tileWords;
    if constexpr (factors == MAGNITUDES) row.negatives += vectors * LANES;
    row.to += vectors * LANES * (row.range.codes ? 1 : 4);
    row.sums += row.sumStride;
  }
  given = row;
}

/* The last positions, of so many vectors. */
template <int channels, int vectors, Factors factors> INLINE void multiplyRest(TileRow& row, int32_t count) {
  if constexpr (vectors > 1 && LANES >= 8)
    if (count <= (vectors - 1) * LANES) return multiplyRest<channels, vectors - 1, factors>(row, count);
  multiplyTiles<channels, vectors, factors>(row, 1, count);
}

template <int channels, Factors factors> INLINE void multiplyRowOf(TileRow& row, int32_t count) {
  const int32_t tiles = count / TILE_PIXELS, rest = count - tiles * TILE_PIXELS;
  if (tiles > 0) multiplyTiles<channels, PIXEL_VECTORS, factors>(row, tiles, TILE_PIXELS);
  if (rest > 0) multiplyRest<channels, PIXEL_VECTORS, factors>(row, rest);
}

template <int channels> static void multiplyRow(TileRow row, int32_t count) {
  if constexpr (HAS_MAGNITUDES && channels > 1) {
    if (row.negatives) multiplyRowOf<channels, MAGNITUDES>(row, count);
    else multiplyRowOf<channels, CODES>(row, count);
  } else {
    multiplyRowOf<channels, ANY_FACTORS>(row, count);
  }
}

/* What `negatives` of a row of tiles is, of `count` positions; whole tiles are written. */
static void sumNegatives(const Step* steps, int32_t stepCount, const uint32_t* words, size_t tileWords,
                         int32_t count, int32_t* negatives) {
  for (int32_t at = 0; at < count; at += TILE_PIXELS, words += tileWords) {
    i32v sums[PIXEL_VECTORS] = {};
    for (int32_t i = 0; i < stepCount; i++) {
      for (int v = 0; v < PIXEL_VECTORS; v++) {
        const u32v pixels = loadAs<u32v>(words + steps[i].x + v * LANES);
        sums[v] = dotCodes(sums[v], magnitudes(pixels) & signs(pixels), splat((uint32_t)EACH_BYTE));
      }
    }
    for (int v = 0; v < PIXEL_VECTORS; v++) store(negatives + at + v * LANES, sums[v]);
  }
}

}  // namespace LOWBIT_ISA
