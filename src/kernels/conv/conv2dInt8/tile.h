#pragma once
#include "conv.h"

/* Sums of a tile. */

namespace LOWBIT_ISA {

/* A quad of weights and the words that it meets: offsets in words. */
struct Step {
  int32_t x, w;
};

/*
 * How a dot product is made: in one way whatever the factors; or of pixels of 0 … 127; of a panel that is
 * lowered (groups.h); or of any pixels, by steps that are sorted for each tile.
 */
enum Factors { ANY_FACTORS, CODES, LOWERED, SIGNED };

/* Tiles whose sums are made before they become values: these stay in the first-level cache. */
constexpr int32_t RUN_TILES = 32;

/* A tile of a run, and for how many of its steps `neighboursFit`. */
struct SignedTile {
  int32_t tile, fit;
};

/*
 * Of pixels some of which are negative: for each tile the steps that fit, then the others; what the sums of
 * each position lack; weights as a block of channels meets them. Of each run, tiles with as many fitting
 * steps follow each other, so that a processor foresees where each loop ends; the last of all, which may be
 * smaller, stays last.
 */
struct SignedTiles {
  const SignedTile* order;
  const Step* steps;
  size_t tileSteps; /* from tile to tile */
  const int32_t* corrections;
  const uint32_t* w;
};

/* What a row of tiles is computed from, and where it goes. */
struct TileRow {
  const Step* steps;
  int32_t stepCount;
  StepGroups groups; /* of the steps */
  bool lowered;
  const uint32_t* words;
  size_t tileWords; /* from tile to tile */
  SignedTiles negative; /* without an order: no pixel is negative */
  const Channel* channels;
  int32_t rows; /* channels that are there: the others of a tile are computed as the last */
  /* Sums of the steps before, unless these are the first; where more follow, those of these steps. */
  bool first, last;
  int32_t* sums;
  size_t sumStride; /* from tile to tile */
  Range range;
  Outputs to;
  size_t plane; /* from channel to channel */
};

/*
 * On AVX2 what sums become is computed for a whole run, channel by channel: tile by tile, a processor does
 * not see far enough past the long chain of steps of each value. Elsewhere, while they are in registers.
 */
constexpr bool FINISHES_RUNS = LANES == 8;

/* Apart from where sums are made: it is long. */
OUTLINE void finishSums(Channel channel, Range range, const int32_t* sums, int32_t count, Outputs to) {
  finishValues(channel, range, sums, 0, count, to);
}

/* The sum of both in 16 bits. Behind the last pixel lie others, whose sums do not fit, and are not used. */
INLINE i16v addPairs(i16v a, i16v b) {
  typedef uint16_t u16v __attribute__((vector_size(LANES * 4)));
  return (i16v)((u16v)a + (u16v)b);
}

/*
 * Adds to a sum in memory, which stays there: where there are not enough registers for sums of 16 and of 32
 * bits, GCC would move those of 32 to and fro.
 */
INLINE void addThere(int32_t* sum, i32v x) {
  asm("" : "+m"(*(i32v*)sum));
  store(sum, load(sum) + x);
}

/* What the sums of a channel become at `count` positions of a tile. */
template <int vectors>
INLINE void finishTile(const i32v (&sums)[vectors], const Channel& channel, const Range& range, int32_t count,
                       const Outputs& to) {
  if (range.codesAlone) {
    f32v units[vectors];
    for (int v = 0; v < vectors; v++)
      units[v] = (convert(sums[v]) * channel.factor + channel.bias) * range.inverse;
    return storeNearest(units, range.least, range.most, count, to.codes);
  }
  alignas(64) int32_t tile[TILE_PIXELS] = {};
  for (int v = 0; v < vectors; v++) store(tile + v * LANES, sums[v]);
  finishSums(channel, range, tile, count < vectors * LANES ? count : vectors * LANES, to);
}

/* Sums of so many channels at `tiles` tiles of a run, from `first` on, of so many vectors. */
template <int channels, int vectors, Factors factors>
OUTLINE void multiplyTiles(const TileRow& given, int32_t first, int32_t tiles, int32_t count) {
  /* By itself: nothing that is stored can change it. */
  const TileRow row = given;
  const int32_t stepCount = row.stepCount, rows = row.rows;
  const uint32_t* w[channels];
#pragma GCC unroll 4
  for (int r = 0; r < channels; r++)
    w[r] = row.channels[r < rows ? r : rows - 1].w;
  const auto weights = [&](int r, size_t at) {
    return splat(factors == SIGNED ? row.negative.w[at + r] : w[r][at]);
  };
  for (int32_t t = first; t < first + tiles; t++) {
    const SignedTile signedTile = factors == SIGNED ? row.negative.order[t] : SignedTile{};
    const size_t tile = factors == SIGNED ? signedTile.tile : t;
    const Step* steps = factors == SIGNED ? row.negative.steps + tile * row.negative.tileSteps : row.steps;
    int32_t* sums = row.sums + tile * row.sumStride;
    i32v dots[channels][vectors];
#pragma GCC unroll 4
    for (int r = 0; r < channels; r++) {
      const int32_t start =
          INT8_OFFSET || factors == LOWERED ? row.channels[r < rows ? r : rows - 1].start : 0;
      for (int v = 0; v < vectors; v++)
        dots[r][v] = row.first ? splat(start) : load(sums + (r * PIXEL_VECTORS + v) * LANES);
      if constexpr (factors == LOWERED)
        for (int v = 0; v < vectors && !row.first; v++) dots[r][v] += start;
      if constexpr (factors == SIGNED)
        for (int v = 0; v < vectors; v++)
          dots[r][v] += load(row.negative.corrections + tile * TILE_PIXELS + v * LANES);
    }
    const uint32_t* words = row.words + tile * row.tileWords;
    const StepGroups groups = factors == CODES || factors == LOWERED ? row.groups : StepGroups{};
    if constexpr (factors == LOWERED) {
      if (groups.eights > 0) {
#pragma GCC unroll 4
        for (int r = 0; r < channels; r++)
#pragma GCC unroll 4
          for (int v = 0; v < vectors; v++) store(sums + (r * PIXEL_VECTORS + v) * LANES, dots[r][v]);
        for (int32_t i = 0; i < groups.eights; i += 8) {
          i16v pairs[channels][vectors];
#pragma GCC unroll 8
          for (int k = 0; k < 8; k++) {
            const uint32_t* x = words + steps[i + k].x;
            const size_t at = steps[i + k].w;
            u32v pixels[vectors];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) pixels[v] = loadAs<u32v>(x + v * LANES);
#pragma GCC unroll 4
            for (int r = 0; r < channels; r++) {
              const u32v four = weights(r, at);
#pragma GCC unroll 4
              for (int v = 0; v < vectors; v++) {
                const i16v two = dotPairs(pixels[v], four);
                pairs[r][v] = k == 0 ? two : addPairs(pairs[r][v], two);
                inOrder(pairs[r][v]);
              }
            }
          }
#pragma GCC unroll 4
          for (int r = 0; r < channels; r++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
              addThere(sums + (r * PIXEL_VECTORS + v) * LANES, sumPairs(pairs[r][v]));
        }
        if (FINISHES_RUNS && groups.eights == stepCount) continue;
#pragma GCC unroll 4
        for (int r = 0; r < channels; r++)
#pragma GCC unroll 4
          for (int v = 0; v < vectors; v++) dots[r][v] = load(sums + (r * PIXEL_VECTORS + v) * LANES);
      }
    }
    for (int32_t i = factors == LOWERED ? groups.eights : 0; i < groups.twos; i += 2) {
      const uint32_t *x = words + steps[i].x, *y = words + steps[i + 1].x;
      const size_t at = steps[i].w, then = steps[i + 1].w;
      u32v pixels[2][vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++)
        pixels[0][v] = loadAs<u32v>(x + v * LANES), pixels[1][v] = loadAs<u32v>(y + v * LANES);
#pragma GCC unroll 4
      for (int r = 0; r < channels; r++) {
        const u32v first = weights(r, at), second = weights(r, then);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
          const i16v one = dotPairs(pixels[0][v], first), other = dotPairs(pixels[1][v], second);
          dots[r][v] += sumPairs(factors == LOWERED ? addPairs(one, other) : one + other);
          inOrder(dots[r][v]);
        }
      }
    }
    const int32_t fit = factors == SIGNED ? signedTile.fit : stepCount;
    for (int32_t i = groups.twos; i < fit; i++) {
      const uint32_t* x = words + steps[i].x;
      const size_t at = steps[i].w;
      u32v pixels[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) pixels[v] = loadAs<u32v>(x + v * LANES);
#pragma GCC unroll 4
      for (int r = 0; r < channels; r++) {
        const u32v four = weights(r, at);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
          if constexpr (factors == CODES || factors == LOWERED)
            dots[r][v] = dotCodes(dots[r][v], pixels[v], four);
          else if constexpr (factors == SIGNED) dots[r][v] = dotCodes(dots[r][v], four, pixels[v]);
          else dots[r][v] = dotInt8(dots[r][v], pixels[v], four);
        }
      }
    }
    for (int32_t i = fit; factors == SIGNED && i < stepCount; i++) {
      const uint32_t* x = words + steps[i].x;
      const size_t at = steps[i].w;
      u32v pixels[vectors], negative[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) {
        pixels[v] = loadAs<u32v>(x + v * LANES);
        negative[v] = signs(pixels[v]);
        pixels[v] = magnitudes(pixels[v]);
      }
#pragma GCC unroll 4
      for (int r = 0; r < channels; r++) {
        const u32v four = weights(r, at);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
          dots[r][v] = dotMagnitudes(dots[r][v], pixels[v], negative[v], four);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < channels; r++) {
      if (FINISHES_RUNS || !row.last) {
        for (int v = 0; v < vectors; v++) store(sums + (r * PIXEL_VECTORS + v) * LANES, dots[r][v]);
      } else if (r < rows) {
        const int32_t at = tile * TILE_PIXELS;
        finishTile(dots[r], row.channels[r], row.range, count - at, row.to.at(r * row.plane + at));
      }
    }
  }
}

/* The last tile of a run, of so many vectors. */
template <int channels, int vectors, Factors factors>
INLINE void multiplyRest(const TileRow& row, int32_t tile, int32_t count) {
  if constexpr (vectors > 1 && LANES >= 8)
    if (count - tile * TILE_PIXELS <= (vectors - 1) * LANES)
      return multiplyRest<channels, vectors - 1, factors>(row, tile, count);
  multiplyTiles<channels, vectors, factors>(row, tile, 1, count);
}

#if LANES == 8
/* Whether the weights of the channels of a block lie behind each other. */
INLINE bool together(const TileRow& row) {
  const int32_t last = TILE_CHANNELS - 1;
  return row.rows > last && row.channels[last].w == row.channels[0].w + last;
}

/* Positions of a last tile so few that lanes are better four channels, whose weights lie `together`. */
constexpr int32_t FEW_POSITIONS = 2;

/* Sums of four channels at so few positions of a tile: two steps at a time. */
template <Factors factors> OUTLINE void multiplyFew(const TileRow& row, int32_t given, int32_t count) {
  const SignedTile signedTile = factors == SIGNED ? row.negative.order[given] : SignedTile{given, 0};
  const size_t tile = signedTile.tile;
  const Step* steps = factors == SIGNED ? row.negative.steps + tile * row.negative.tileSteps : row.steps;
  const uint32_t* w = factors == SIGNED ? row.negative.w : row.channels[0].w;
  const int32_t fit = factors == SIGNED ? signedTile.fit : row.stepCount;
  for (int32_t at = 0; at < count; at++) {
    const uint32_t* words = row.words + tile * row.tileWords + at;
    int32_t* sums = row.sums + tile * row.sumStride + at;
    i32v dots = {};
    for (int r = 0; r < TILE_CHANNELS; r++) {
      dots[r] = !row.first ? sums[r * TILE_PIXELS] : INT8_OFFSET ? row.channels[r].start : 0;
      if (factors == LOWERED) dots[r] += row.channels[r].start;
      if (factors == SIGNED) dots[r] += row.negative.corrections[tile * TILE_PIXELS + at];
    }
    const auto each = [&](int32_t from, int32_t to, auto&& dot) {
      for (int32_t i = from; i < to; i += 2) {
        /* Without a second step, pixels of zero. */
        const bool both = i + 1 < to;
        const Step a = steps[i], b = steps[both ? i + 1 : i];
        const __m256i x = (__m256i)splat(words[a.x]), y = (__m256i)splat(both ? words[b.x] : 0);
        dots = dot((u32v)_mm256_blend_epi32(x, y, 0xf0),
                   (u32v)_mm256_set_m128i(loadAs<__m128i>(w + b.w), loadAs<__m128i>(w + a.w)));
      }
    };
    each(0, fit, [&](u32v pixels, u32v weights) {
      if constexpr (factors == CODES || factors == LOWERED) return dotCodes(dots, pixels, weights);
      else if constexpr (factors == SIGNED) return dotCodes(dots, weights, pixels);
      else return dotInt8(dots, pixels, weights);
    });
    each(fit, row.stepCount, [&](u32v pixels, u32v weights) {
      return dotMagnitudes(dots, magnitudes(pixels), signs(pixels), weights);
    });
    for (int r = 0; r < TILE_CHANNELS; r++) sums[r * TILE_PIXELS] = dots[r] + dots[r + TILE_CHANNELS];
  }
}
#endif

template <int channels, Factors factors> INLINE void multiplyRun(const TileRow& row, int32_t count) {
  const int32_t tiles = count / TILE_PIXELS, rest = count - tiles * TILE_PIXELS;
  if (tiles > 0) multiplyTiles<channels, PIXEL_VECTORS, factors>(row, 0, tiles, count);
  if (rest == 0) return;
#if LANES == 8
  if constexpr (channels == TILE_CHANNELS)
    if (rest <= FEW_POSITIONS && together(row)) return multiplyFew<factors>(row, tiles, rest);
#endif
  multiplyRest<channels, PIXEL_VECTORS, factors>(row, tiles, count);
}

/* What the sums of a run of `count` positions become, channel by channel. */
OUTLINE void finishRun(const TileRow& given, int32_t count) {
  const TileRow row = given;
#if LANES == 8
  if (row.range.codesAlone) {
    const CodeLimits limits(row.range);
    for (int r = 0; r < row.rows; r++)
      finishCodes(row.channels[r], limits, row.sums + r * TILE_PIXELS, row.sumStride, count,
                  row.to.codes + r * row.plane, count);
    return;
  }
#endif
  for (int r = 0; r < row.rows; r++)
    finishValues(row.channels[r], row.range, row.sums + r * TILE_PIXELS, row.sumStride, count,
                 row.to.at(r * row.plane));
}

template <int channels> static void multiplyRow(TileRow row, int32_t count) {
  constexpr int32_t run = RUN_TILES * TILE_PIXELS;
  for (int32_t at = 0; at < count; at += run) {
    const int32_t some = count - at < run ? count - at : run;
    if constexpr (HAS_MAGNITUDES && channels > 1) {
      if (row.negative.order) multiplyRun<channels, SIGNED>(row, some);
      else if (row.lowered) multiplyRun<channels, LOWERED>(row, some);
      else multiplyRun<channels, CODES>(row, some);
    } else {
      multiplyRun<channels, ANY_FACTORS>(row, some);
    }
    if (FINISHES_RUNS && row.last) finishRun(row, some);
    row.words += RUN_TILES * row.tileWords;
    if (!row.first || !row.last) row.sums += RUN_TILES * row.sumStride;
    row.to = row.to.at(run);
    if (!row.negative.order) continue;
    row.negative.order += RUN_TILES, row.negative.corrections += run;
    row.negative.steps += RUN_TILES * row.negative.tileSteps;
  }
}

/*
 * What `SignedTiles` has of tiles of `count` positions; its weights are those of step i at i. Tiles whose
 * words lie together have steps of their own; else no step is taken for one that fits.
 */
static void sortSteps(const Step* steps, int32_t stepCount, const uint32_t* words, size_t tileWords,
                      bool byTiles, int32_t count, Step* sorted, SignedTile* order, int32_t* corrections) {
  const int32_t tiles = ceilDivide(count, TILE_PIXELS);
  for (int32_t tile = 0; tile < tiles; tile++, words += tileWords, corrections += TILE_PIXELS) {
    i32v sums[PIXEL_VECTORS] = {};
    int32_t fitting = 0, others = stepCount;
    for (int32_t i = 0; i < stepCount; i++) {
      u32v pixels[PIXEL_VECTORS];
      bool fit = byTiles;
      for (int v = 0; v < PIXEL_VECTORS; v++) {
        pixels[v] = loadAs<u32v>(words + steps[i].x + v * LANES);
        fit = fit && neighboursFit(pixels[v]);
      }
      for (int v = 0; v < PIXEL_VECTORS; v++)
        sums[v] = fit ? sumTimes<-128>(sums[v], pixels[v]) : sumTimes<-1>(sums[v], negatives(pixels[v]));
      sorted[fit ? fitting++ : --others] = {steps[i].x, i * TILE_CHANNELS};
    }
    for (int v = 0; v < PIXEL_VECTORS; v++) store(corrections + v * LANES, sums[v]);
    if (byTiles) sorted += stepCount;
    int32_t at = tile;
    if (tile < tiles - 1)
      for (; at % RUN_TILES > 0 && order[at - 1].fit > fitting; at--) order[at] = order[at - 1];
    order[at] = {tile % RUN_TILES, fitting};
  }
}

/* The weights of a block of channels as `SignedTiles` has them. */
static void offsetWeights(const Step* steps, int32_t stepCount, const Channel* channels, int32_t rows,
                          uint32_t* to) {
  typedef uint32_t Block __attribute__((vector_size(4 * TILE_CHANNELS)));
  const uint32_t* w[TILE_CHANNELS];
  for (int r = 0; r < TILE_CHANNELS; r++) w[r] = channels[r < rows ? r : rows - 1].w;
  const bool together = w[TILE_CHANNELS - 1] == w[0] + TILE_CHANNELS - 1;
  for (int32_t i = 0; i < stepCount; i++, to += TILE_CHANNELS) {
    const int32_t at = steps[i].w;
    const Block block = together ? loadAs<Block>(w[0] + at) : Block{w[0][at], w[1][at], w[2][at], w[3][at]};
    storeAs(to, block ^ OFFSET_BYTES);
  }
}

}  // namespace LOWBIT_ISA
