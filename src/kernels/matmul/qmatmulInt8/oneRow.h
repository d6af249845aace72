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
  u32v codes = {};
  eachPlane<TileRun<qtype>::bits>([&](auto plane) __attribute__((always_inline)) {
    constexpr int quads = plane.codes / 4;
    u32v word = loadAs<u32v>(run + (plane.from + j / quads) * step);
    codes |= ((word >> (plane.bits * (j % quads))) & (plane.mask * 0x01010101u)) << plane.from;
  });
  return codes;
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

/*
 * parts[.][v] += the products of neighbouring codes of a quad; bytes have a plane of low and one of high four
 * bits.
 */
template <int planes>
INLINE void int8AddPairs(i16v (&parts)[planes][TILE_VECTORS], int v, u32v codes, u32v values) {
#pragma GCC unroll 2
  for (int plane = 0; plane < planes; plane++)
    parts[plane][v] += dotPairs(planes == 1 ? codes : (codes >> (4 * plane)) & 0x0f0f0f0fu, values);
}

/* Quads of codes of so many bits whose pairs (dotPairs) fit 16 bits when they are added up. */
template <int bits> constexpr int pairsFit = bits <= 4 ? 8 : 128 >> bits;

/* Whether those of a piece of a run do. */
template <int qtype> constexpr bool hasRowPairs = isBytes<qtype> || 4 * pairsFit<TileRun<qtype>::bits> >= TileRun<qtype>::piece;

/* y[n .. n + 15] of one row; a tile row of w is one stretch of memory, read once from front to back. */
template <int qtype, bool pairs>
static void int8TileRow(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t n,
                        int32_t N) {
  using Run = TileRun<qtype>;
  constexpr int planes = pairs && isBytes<qtype> ? 2 : 1;
  constexpr int stretch = 4 * pairsFit<isBytes<qtype> ? 4 : Run::bits>;
  f32v totals[TILE_VECTORS] = {};
  GroupValues<TILE_VECTORS> groups{n, w.groups};
  const bool zeroPoints = hasZeroPoints(w);
  const uint8_t* run = tileRun<qtype>(w, n, 0);
  int32_t k = 0;
  for (int32_t g = 0; g < x.groups; g++) {
    int32_t end = groupEnd(g, x.groupSize, w.K);
    int place = groupPlace(w, groups, k / w.groupSize);
    /* Two chains, because each dot product waits for the one before. */
    i32v sums[2][TILE_VECTORS] = {};
    for (int v = 0; v < TILE_VECTORS; v++) sums[0][v] = int8Start<operandOffset<qtype>>(x.sum[g]);
    while (k < end) {
      int32_t stop = pairs && end - k > stretch ? k + stretch : end;
      i16v parts[planes][TILE_VECTORS] = {};
      for (; k < stop; k += Run::piece) {
        withPiece<qtype>(k, [&](auto first) __attribute__((always_inline)) {
          constexpr int at = decltype(first)::value;
          if constexpr (at == 0) prefetchBehind<qtype>(run);
#pragma GCC unroll 4
          for (int j = 0; j < Run::piece / 4; j++) {
            u32v values = int8Splat(x.codes + k + 4 * j);
#pragma GCC unroll 4
            for (int v = 0; v < TILE_VECTORS; v++) {
              u32v codes = int8Quad<qtype>(run + v * LANES * 4, at / 4 + j, 64);
              if constexpr (pairs) int8AddPairs(parts, v, codes, values);
              else sums[j % 2][v] = int8Dot<isBytes<qtype>>(sums[j % 2][v], codes, values);
            }
          }
          if constexpr (at + Run::piece == Run::columns) run += 64 * Run::words;
        });
      }
      for (int plane = 0; plane < planes && pairs; plane++)
        for (int v = 0; v < TILE_VECTORS; v++) sums[plane][v] += sumPairs(parts[plane][v]) << (4 * plane);
    }
    k = end;
    for (int v = 0; v < TILE_VECTORS; v++) {
      f32v scale = groups.scales[place][v], shift = groupShift(zeroPoints, scale, groups.offsets[place][v]);
      totals[v] = int8Combine<isAffine<qtype>>(totals[v], sums[0][v] + sums[1][v], x.scale[g], x.sum[g],
                                               scale, shift);
    }
  }
  for (int v = 0; v < TILE_VECTORS; v++) {
    if (bias) totals[v] += loadUpTo(bias + n + v * LANES, N - n - v * LANES);
    storeUpTo(y + n + v * LANES, totals[v], N - n - v * LANES);
  }
}

template <int qtype, bool pairs>
static void int8OneRow(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t N) {
  /* A million weights take some 40 microseconds. */
  int32_t tileRows = ceilDivide(N, 16), perTask = evenShare(tileRows, 65536 / w.K + 1);
  parallelFor(ceilDivide(tileRows, perTask), [&](int32_t task) {
    for (int32_t t = task * perTask; t < (task + 1) * perTask && t < tileRows; t++)
      int8TileRow<qtype, pairs>(w, x, bias, y, t * 16, N);
  });
}

}  // namespace LOWBIT_ISA
