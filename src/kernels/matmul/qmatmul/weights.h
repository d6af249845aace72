#pragma once
#include "../../layout/tilePack/word.h"

/* Quantized weights as tiles (drawn at tilePack.ts), read with one row a lane. */

namespace LOWBIT_ISA {

/*
 * A scale or an offset for each row and group, in tiles: floats; or codes of 4, 6 or 8 bits (drawn at
 * groupValues.h).
 */
struct TiledValues {
  const void* tiles;
  int32_t dtype; /* FLOAT32, FLOAT16 or BFLOAT16; of offsets UINT8: zero points; that of codes */
  int32_t bits;  /* of codes; 0: values are plain */
  int32_t zero;
  const void* values;
};

/* W [N, K] with a scale, and an offset or none, per row and group. */
struct TiledWeights {
  const uint8_t* codes;
  TiledValues scale, offset;
  int32_t valueDtype, shared; /* of the values of codes: how many groups of a row have one (groupValues.h) */
  int32_t zeroPoint;          /* of all groups, where there are no offsets */
  int32_t K, groupSize, groups;
};

INLINE TiledWeights tiledWeights(const uint8_t* codes, const TiledValues& scale, const TiledValues& offset,
                                 int32_t valueDtype, int32_t shared, int32_t zeroPoint, int32_t K,
                                 int32_t groupSize) {
  int32_t groups = (int32_t)(((int64_t)K + groupSize - 1) / groupSize);
  return {codes, scale, offset, valueDtype, shared, zeroPoint, K, groupSize, groups};
}

/*
 * The smallest run of columns whose codes lie together: a word, or the words of 32 columns where codes have
 * several planes. Runs start at multiples of `columns`; rows' are 64 · words bytes apart.
 */
template <int qtype> struct TileRun {
  static constexpr int bits = qtypes[qtype].bits;
  static constexpr int words = isOnePlane(bits) ? 1 : bits;
  static constexpr int columns = isOnePlane(bits) ? 32 / bits : 32;
  /* Groups are multiples of 16 columns, so that a run of 32 is taken in two pieces. */
  static constexpr int piece = columns < 16 ? columns : 16;
};
template <int qtype> constexpr bool isAffine = qtypes[qtype].values == UNSIGNED_CODES;
template <int qtype> constexpr bool isSigned = qtypes[qtype].values == SIGNED_CODES;
template <int qtype> constexpr bool isCodebook = qtypes[qtype].values == CODEBOOK;

/* Code j of a run, in the lowest bits; word(i) gives its word i. */
template <int qtype, class Word> INLINE auto runCode(int j, Word&& word) {
  decltype(word(0)) code{};
  eachPlane<TileRun<qtype>::bits>([&](auto plane) __attribute__((always_inline)) {
    code |= (word(plane.from + j / plane.codes) >> plane.bitOf(j % plane.codes) & plane.mask) << plane.from;
  });
  return code;
}

/* Codes 4·i … 4·i + 3 of a run of unsigned codes, one a byte; word(i) gives its word i. */
template <int qtype, class Word> INLINE auto runQuad(int i, Word&& word) {
  decltype(word(0)) quad{};
  eachPlane<TileRun<qtype>::bits>([&](auto plane) __attribute__((always_inline)) {
    constexpr int quads = plane.codes / 4;
    /* To its place in the code with the shift that brings it here. */
    const int right = plane.bits * (i % quads) - plane.from;
    auto bits = word(plane.from + i / quads);
    quad |= (right < 0 ? bits << -right : bits >> right) & (plane.mask4 << plane.from);
  });
  return quad;
}

/*
 * The run of row n (n a multiple of LANES, as are the lanes behind it) that holds column k; its words are 64
 * bytes apart.
 */
template <int qtype> INLINE const uint8_t* tileRun(const TiledWeights& w, int32_t n, int32_t k) {
  using Run = TileRun<qtype>;
  size_t runsPerRow = ((size_t)w.K + Run::columns - 1) / Run::columns;
  return w.codes + (n / 16 * runsPerRow + k / Run::columns) * (64 * Run::words) + n % 16 * 4;
}

/*
 * Asks for what lies 4096 bytes behind the run of a tile row that is being read: the reads that a processor
 * foresees by itself do not use all of the memory's bandwidth.
 */
template <int qtype> INLINE void prefetchBehind(const uint8_t* run) {
  for (int i = 0; i < TileRun<qtype>::words; i++) __builtin_prefetch(run + 4096 + 64 * i);
}

/* body(Constant<first>) for the piece of a run that begins with column k, `first` of the run. */
template <int qtype, class Body> INLINE void withPiece(int32_t k, Body&& body) {
  if constexpr (TileRun<qtype>::columns == TileRun<qtype>::piece) return body(Constant<0>{});
  else if (k % 32 == 0) body(Constant<0>{});
  else body(Constant<16>{});
}

/* The group of a column. */
INLINE int32_t groupOf(const TiledWeights& w, int32_t k) { return k / w.groupSize; }

/* The column behind the last of a group. */
INLINE int32_t groupEnd(int32_t group, int32_t groupSize, int32_t K) {
  int64_t end = ((int64_t)group + 1) * groupSize;
  return end < K ? (int32_t)end : K;
}

}  // namespace LOWBIT_ISA
