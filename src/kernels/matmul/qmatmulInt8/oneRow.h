#pragma once
#include "../qmatmul/groupValues.h"
#include "simd.h"

/* Operands of integer products, and one row of x: bound by the bytes of w. */

namespace LOWBIT_ISA {

/* Integers that a dot product takes, and those of them that have all eight bits. */
template <int qtype> constexpr bool hasDotProducts = isSigned<qtype> || isAffine<qtype>;
template <int qtype> constexpr bool isBytes = hasDotProducts<qtype> && qtypes[qtype].bits == 8;
/* What is added to codes of eight bits to make them operands: their signs differ, or both must have one. */
template <int qtype> constexpr int32_t operandOffset = isSigned<qtype> ? INT8_OFFSET
                                                       : isBytes<qtype> ? INT8_OFFSET - 128 : 0;

/* Rows of signed bytes with a scale and a sum for each group of columns, as quantizeRows makes them. */
struct ByteRows {
  const uint8_t* codes;
  const float* scale;
  const float* sum;
  size_t stride;
  int32_t groupSize, groups;
};

/*
 * Four columns of each lane's row as the operand of a dot product: quad j of a run of words that are `step`
 * bytes apart.
 */
template <int qtype> INLINE u32v int8Quad(const uint8_t* run, int j, int32_t step) {
  if constexpr (isBytes<qtype>) return loadAs<u32v>(run) ^ (operandOffset<qtype> ? 0x80808080u : 0u);
  return runQuad<qtype>(
      j, [&](int i) __attribute__((always_inline)) { return loadAs<u32v>(run + i * step); });
}
template <int qtype> constexpr int int8Quads = TileRun<qtype>::columns / 4;

template <bool bytes>
INLINE i32v int8Dot(i32v sums, u32v w, u32v x) {
  return bytes ? dotInt8(sums, w, x) : dotCodes(sums, w, x);
}

/* The same four columns of one row of x in every lane. */
INLINE u32v int8Splat(const uint8_t* x) { return splat(loadAs<uint32_t>(x)); }

/* total + xScale · (scale · dot − shift · sum); without a shift the product is (xScale · scale) · dot. */
template <bool hasShift>
INLINE f32v int8Combine(f32v total, i32v dot, float xScale, float sum, f32v scale, f32v shift) {
  if (!hasShift) return fma(scale * xScale, convert(dot), total);
  return fma(splat(xScale), fma(scale, convert(dot), -(shift * sum)), total);
}

/* What the sums of a group start from, so that what was added to its codes is taken away. */
template <int32_t offset>
INLINE i32v int8Start(float sum) {
  return offset ? splat(-offset * (int32_t)sum) : i32v{};
}

constexpr int TILE_VECTORS = 16 / LANES;

/* Quads of codes of so many bits whose pairs (dotPairs) fit 16 bits when they are added up. */
template <int bits> constexpr int pairsFit = bits <= 4 ? 8 : 128 >> bits;

/*
 * How the codes of a type are multiplied by one row of x: four by four, in pairs, or bytes as 16 bits where a
 * dot product of bytes would have to split them; with wider vectors rows would have to cross their halves.
 */
enum Int8RowWay : int32_t { FOURS, PAIRS_OF_CODES, WIDE_BYTES };
template <int qtype, bool pairs> constexpr Int8RowWay int8RowWay = [] {
  if (isBytes<qtype>) return LANES == 4 && HAS_PAIRS && (pairs || INT8_OFFSET == 0) ? WIDE_BYTES : FOURS;
  return pairs && 4 * pairsFit<TileRun<qtype>::bits> >= TileRun<qtype>::piece ? PAIRS_OF_CODES : FOURS;
}();
/* Columns taken at once where a group has them: code that is worth it for the types that are used most. */
template <int qtype, Int8RowWay way>
constexpr int int8Stretch = way != FOURS && (isBytes<qtype> || qtype == QINT4 || qtype == QINT2) ? 32 : 0;

/*
 * Sums of 16 rows over the columns of a group. Two chains, because each dot product waits for the one before;
 * of wide bytes those are of the first and the second half of a vector's rows, each row in two lanes.
 */
using Int8RowSums = i32v[2][TILE_VECTORS];
template <Int8RowWay way> INLINE i32v int8RowTotal(const Int8RowSums& sums, int v) {
  return way == WIDE_BYTES ? addNeighbours(sums[0][v], sums[1][v]) : sums[0][v] + sums[1][v];
}

/*
 * int8Splat of the columns 4 · j … 4 · j + 3 of so many. Of whole vectors WebAssembly takes it from one load:
 * V8 broadcasts from a constant offset in two instructions.
 */
template <int columns> INLINE u32v int8SplatOf(const uint8_t* x, int j) {
#ifdef __wasm__
  if constexpr (columns % 16 == 0) {
    const u32v four = loadAs<u32v>(x + j / 4 * 16);
    if (j % 4 == 0) return __builtin_shufflevector(four, four, 0, 0, 0, 0);
    if (j % 4 == 1) return __builtin_shufflevector(four, four, 1, 1, 1, 1);
    if (j % 4 == 2) return __builtin_shufflevector(four, four, 2, 2, 2, 2);
    return __builtin_shufflevector(four, four, 3, 3, 3, 3);
  }
#endif
  return int8Splat(x + 4 * j);
}

/* sums += w · x over so many columns, from column `first` of a run on. */
template <int qtype, Int8RowWay way, int first, int columns>
INLINE void int8AddColumns(Int8RowSums& sums, const uint8_t* run, const uint8_t* x) {
  using Run = TileRun<qtype>;
  constexpr int most = way == PAIRS_OF_CODES ? 4 * pairsFit<Run::bits> : columns;
  if constexpr (columns > most) {
    int8AddColumns<qtype, way, first, most>(sums, run, x);
    constexpr int next = first + most;
    run += next / Run::columns * 64 * Run::words;
    return int8AddColumns<qtype, way, next % Run::columns, columns - most>(sums, run, x + most);
  }
  i16v parts[TILE_VECTORS] = {};
#pragma GCC unroll 8
  for (int j = 0; j < columns / 4; j++) {
    const uint8_t* words = run + (first + 4 * j) / Run::columns * 64 * Run::words;
    const int quad = (first + 4 * j) % Run::columns / 4;
    u32v values = int8SplatOf<columns>(x, j);
#pragma GCC unroll 4
    for (int v = 0; v < TILE_VECTORS; v++) {
      const uint8_t* at = words + v * LANES * 4;
      if constexpr (way == WIDE_BYTES) {
        for (int half = 0; half < 2; half++)
          sums[half][v] = dotHalves<isSigned<qtype>>(sums[half][v], at + half * LANES * 2, values);
      } else {
        u32v codes = int8Quad<qtype>(at, quad, 64);
        if constexpr (way == PAIRS_OF_CODES) parts[v] += dotPairs(codes, values);
        else sums[j % 2][v] = int8Dot<isBytes<qtype>>(sums[j % 2][v], codes, values);
      }
    }
  }
  if constexpr (way == PAIRS_OF_CODES)
    for (int v = 0; v < TILE_VECTORS; v++) sums[0][v] += sumPairs(parts[v]);
}

/*
 * y[n .. n + 15] of one row; a tile row of w is one stretch of memory, read once from front to back. With
 * `plain` groups are of 32 columns, each whole, in w and in x, and scales and shifts float16, decoded where
 * they are multiplied; false if one of those is infinite or NaN, where that is noticed (TileHalves).
 */
template <int qtype, Int8RowWay way, bool plain>
static bool int8TileRow(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t n,
                        int32_t N) {
  using Run = TileRun<qtype>;
  constexpr int32_t offset = way == WIDE_BYTES ? 0 : operandOffset<qtype>;
  const bool zeroPoints = hasZeroPoints(w), shifted = isAffine<qtype> && w.offset.tiles;
  const float zero = isAffine<qtype> && !shifted ? w.zeroPoint : 0;
  const int32_t K = w.K, groupSize = plain ? 32 : w.groupSize, xGroupSize = plain ? 32 : x.groupSize;
  f32v totals[TILE_VECTORS] = {};
  GroupValues<TILE_VECTORS> groups{n, w.groups};
  TileHalves scales{w.scale.tiles, n, w.groups}, shifts{w.offset.tiles, n, w.groups};
  const uint8_t *run = tileRun<qtype>(w, n, 0), *values = x.codes;
  const float *xScale = x.scale, *xSum = x.sum;
  for (int32_t k = 0, group = 0; k < K; group++) {
    const int place = plain ? 0 : groupPlace(w, groups, group);
    const int32_t last = plain || K - k >= groupSize ? k + groupSize : K;
    for (; k < last; xScale++, xSum++) {
      const int32_t end = plain || last - k < xGroupSize ? last : k + xGroupSize;
      Int8RowSums sums = {};
      if constexpr (int8Stretch<qtype, way> == 32) {
        for (; end - k >= 32; k += 32, values += 32) {
          opaque(run), opaque(values);
          for (int i = 0; i < 32 / Run::columns; i++) prefetchBehind<qtype>(run + i * 64);
          int8AddColumns<qtype, way, 0, 32>(sums, run, values);
          run += 32 / Run::columns * 64;
        }
      }
      for (; k < end; k += Run::piece, values += Run::piece) {
        withPiece<qtype>(k, [&](auto first) __attribute__((always_inline)) {
          constexpr int at = decltype(first)::value;
          if constexpr (at == 0) prefetchBehind<qtype>(run);
          int8AddColumns<qtype, way, at, Run::piece>(sums, run, values);
          if constexpr (at + Run::piece == Run::columns) run += 64 * Run::words;
        });
      }
      k = end;
      if constexpr (plain) scales.next();
      if (plain && shifted) shifts.next();
      for (int v = 0; v < TILE_VECTORS; v++) {
        i32v dot = int8RowTotal<way>(sums, v);
        if constexpr (offset) dot -= splat(offset * (int32_t)*xSum);
        f32v scale = plain ? scales.of[v] : groups.scales[place][v];
        if (shifted) {
          f32v shift = plain ? shifts.of[v] : groupShift(zeroPoints, scale, groups.offsets[place][v]);
          totals[v] = int8Combine<true>(totals[v], dot, *xScale, *xSum, scale, shift);
        } else {
          /* A zero point that all groups have. */
          totals[v] = fma(scale * *xScale, convert(dot) - splat(zero * *xSum), totals[v]);
        }
      }
    }
  }
  if (plain && !(scales.finite() && shifts.finite())) return false;
  for (int v = 0; v < TILE_VECTORS; v++) {
    if (bias) totals[v] += loadUpTo(bias + n + v * LANES, N - n - v * LANES);
    storeUpTo(y + n + v * LANES, totals[v], N - n - v * LANES);
  }
  return true;
}

/* Whether that is so. */
INLINE bool int8Plain(const TiledWeights& w, const ByteRows& x) {
  auto halves = [](const TiledValues& values) { return !values.bits && values.dtype == FLOAT16; };
  return w.K % 32 == 0 && w.groupSize == 32 && x.groupSize == 32 && halves(w.scale) &&
         (!w.offset.tiles || halves(w.offset));
}

template <int qtype, Int8RowWay way>
static void int8OneRow(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t N) {
  /* A million weights take some 40 microseconds. */
  int32_t tileRows = ceilDivide(N, 16), perTask = evenShare(tileRows, 65536 / w.K + 1);
  constexpr bool mayBePlain = TileHalves::worthIt && qtype == QINT4 && int8Stretch<qtype, way> == 32;
  const bool plain = mayBePlain && int8Plain(w, x);
  parallelFor(ceilDivide(tileRows, perTask), [&](int32_t task) {
    for (int32_t t = task * perTask; t < (task + 1) * perTask && t < tileRows; t++)
      if (!plain || !int8TileRow<qtype, way, mayBePlain>(w, x, bias, y, t * 16, N))
        int8TileRow<qtype, way, false>(w, x, bias, y, t * 16, N);
  });
}

}  // namespace LOWBIT_ISA
