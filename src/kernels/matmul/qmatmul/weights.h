#pragma once
#include "../../layout/tilePack/word.h"

/* Quantized weights as tiles (drawn at tilePack.ts), read with one row a lane. */

namespace LOWBIT_ISA {

/* W [N, K] with a scale, and an offset or none, per row and group. */
struct TiledWeights {
  const uint8_t* codes;
  const void* scale;
  const void* offset;
  int32_t scaleDtype;  /* FLOAT32, FLOAT16 or BFLOAT16 */
  int32_t offsetDtype; /* the same: shifts; UINT8: zero points */
  int32_t K, groupSize, groups;
};

INLINE TiledWeights tiledWeights(const uint8_t* codes, const void* scale, const void* offset,
                                 int32_t scaleDtype, int32_t offsetDtype, int32_t K, int32_t groupSize) {
  return {codes,       scale, offset,    scaleDtype,
          offsetDtype, K,     groupSize, (int32_t)(((int64_t)K + groupSize - 1) / groupSize)};
}

/*
 * The smallest run of columns whose codes lie together: a word, or the words of 32 columns where codes have
 * several planes. Runs start at multiples of `columns`; rows' are 64 · words bytes apart.
 */
template <int qtype> struct TileRun {
  static constexpr int bits = qtypes[qtype].bits;
  static constexpr int words = isOnePlane(bits) ? 1 : bits;
  static constexpr int columns = isOnePlane(bits) ? 32 / bits : 32;
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

/* Floats in tiles: those of LANES rows from n on for one group. */
INLINE f32v tileFloats(const void* tiles, int32_t dtype, const TiledWeights& w, int32_t n, int32_t group) {
  size_t at = ((size_t)(n / 16) * w.groups + group) * 16 + n % 16;
  if (dtype == FLOAT32) return load((const float*)tiles + at);
  return dtype == FLOAT16 ? loadFloat<FLOAT16>(tiles, at) : loadFloat<BFLOAT16>(tiles, at);
}

INLINE f32v tileScale(const TiledWeights& w, int32_t n, int32_t group) {
  return tileFloats(w.scale, w.scaleDtype, w, n, group);
}

/* Zero points, packed as codes of eight bits: four groups of a row in a word. */
INLINE f32v tileZeroPoint(const TiledWeights& w, int32_t n, int32_t group) {
  uint32_t g = group, wordsPerRow = ((uint32_t)w.groups + 3) / 4;
  size_t word = ((size_t)(n / 16) * wordsPerRow + g / 4) * 16 + n % 16;
  u32v zero = (loadAs<u32v>((const uint8_t*)w.offset + word * 4) >> (8 * (g % 4))) & 0xffu;
  return convert((i32v)zero);
}

/* What is taken from scale * q: the shift, or scale times the zero point; zeros where there is neither. */
INLINE f32v tileShift(const TiledWeights& w, int32_t n, int32_t group, f32v scale) {
  if (!w.offset) return f32v{};
  return w.offsetDtype == UINT8 ? scale * tileZeroPoint(w, n, group)
                                : tileFloats(w.offset, w.offsetDtype, w, n, group);
}

/* The column behind the last of a group. */
INLINE int32_t groupEnd(int32_t group, int32_t groupSize, int32_t K) {
  int64_t end = ((int64_t)group + 1) * groupSize;
  return end < K ? (int32_t)end : K;
}

}  // namespace LOWBIT_ISA
