#pragma once
#include "weights.h"

/*
 * Scales and shifts of groups, as floats with one row a lane. Codes are integers, from which `zero` is taken,
 * or 8-bit floats, times a value of 16 or 32 bits that several groups share:
 *
 *     codes     [N, groups] in tiles of 4, 6 or 8 bits
 *     values    [N, groups / shared] in tiles; with shared = 0 one tile [16, 1] that serves all rows, with −1 the
 *               same, and codes are divided by it; or none
 *
 * shared is a multiple of 8, or all groups of a row, so that eight groups from a multiple of eight on have
 * one value: they are decoded together, out of the same words.
 */

namespace LOWBIT_ISA {

/* Floats in tiles [N, cols]: those of LANES rows from n on. */
INLINE f32v tileFloats(const void* tiles, int32_t dtype, int32_t cols, int32_t n, int32_t col) {
  size_t at = ((size_t)(n / 16) * cols + col) * 16 + n % 16;
  if (dtype == FLOAT32) return load((const float*)tiles + at);
  return dtype == FLOAT16 ? loadFloat<FLOAT16>(tiles, at) : loadFloat<BFLOAT16>(tiles, at);
}

/* Word `word` of LANES rows from n on, of rows of so many words. */
INLINE u32v tileWord(const void* tiles, int32_t wordsPerRow, int32_t n, int32_t word) {
  return loadAs<u32v>((const uint8_t*)tiles + (((size_t)(n / 16) * wordsPerRow + word) * 16 + n % 16) * 4);
}

/*
 * Whether integers are taken from codes, of each group or of all: zero points; else floats from scaled ones.
 */
INLINE bool hasZeroPoints(const TiledWeights& w) {
  return !w.offset.tiles || (!w.offset.bits && w.offset.dtype == UINT8);
}

/* Zero points, packed as codes of eight bits: four groups of a row in a word. */
INLINE f32v tileZeroPoint(const TiledWeights& w, int32_t n, int32_t group) {
  u32v word = tileWord(w.offset.tiles, tileWords(8, w.groups), n, group / 4);
  return convert((i32v)((word >> (8 * (group % 4))) & 0xffu));
}

/* 8-bit floats, one a lane. */
INLINE f32v decodeBytes(u32v codes, int32_t dtype) {
  if (dtype == FLOAT8_E4M3FN) return decodeSmall<FLOAT8_E4M3FN, f32v>(codes);
  u32v power = select((i32v)(codes == 0u), splat(1u << 22), codes << 23);
  return floatOf(select((i32v)(codes == 255u), splat(0x7fc00000u), power));
}

/* The codes of eight groups of LANES rows from n on, four in the bytes of each lane. */
struct EightCodes {
  u32v quads[2];
};

template <int bits> INLINE EightCodes eightCodes(const void* tiles, int32_t groups, int32_t n, int32_t first) {
  int32_t wordsPerRow = tileWords(bits, groups);
  auto word = [&](int32_t index) __attribute__((always_inline)) {
    return tileWord(tiles, wordsPerRow, n, index);
  };
  /* The words of a row may end in the middle. */
  if constexpr (bits == 8) return {{word(first / 4), first + 4 < groups ? word(first / 4 + 1) : u32v{}}};
  u32v low = word(bits == 4 ? first / 8 : first / 32 * 6 + first % 32 / 8);
  EightCodes codes = {{low & 0x0f0f0f0fu, (low >> 4) & 0x0f0f0f0fu}};
  if constexpr (bits == 6) {
    u32v high = word(first / 32 * 6 + 4 + first % 32 / 16) >> (first % 16 / 8 * 4);
    codes.quads[0] |= (high & 0x03030303u) << 4;
    codes.quads[1] |= ((high >> 2) & 0x03030303u) << 4;
  }
  return codes;
}

INLINE u32v codeOf(const EightCodes& codes, int j) { return (codes.quads[j / 4] >> (8 * (j % 4))) & 0xffu; }

/* to[j * step] = v(code of group first + j) · value, j = 0 … 7. */
template <int bits, bool moved>
static void eightIntegers(const TiledValues& from, int32_t groups, int32_t n, int32_t first, f32v value,
                          f32v* to, int step) {
  EightCodes codes = eightCodes<bits>(from.tiles, groups, n, first);
#pragma GCC unroll 8
  for (int j = 0; j < 8; j++) {
    i32v code = (i32v)codeOf(codes, j);
    to[j * step] = convert(moved ? code - from.zero : code) * value;
  }
}

static void eightBytes(const TiledValues& from, int32_t groups, int32_t n, int32_t first, f32v value,
                       f32v* to, int step) {
  EightCodes codes = eightCodes<8>(from.tiles, groups, n, first);
#pragma GCC unroll 8
  for (int j = 0; j < 8; j++) {
    u32v code = codeOf(codes, j);
    f32v decoded = from.dtype == INT8    ? convert((i32v)(code << 24) >> 24)
                   : from.dtype == UINT8 ? convert((i32v)code - from.zero)
                                         : decodeBytes(code, from.dtype);
    to[j * step] = decoded * value;
  }
}

/* to[j * step] = scale or shift of group first + j of the rows n … n + LANES - 1, first a multiple of 8. */
OUTLINE void eightGroups(const TiledWeights& w, const TiledValues& from, int32_t n, int32_t first, f32v* to,
                         int step) {
  f32v value = splat(1.0f);
  if (from.values && w.shared > 0)
    value = tileFloats(from.values, w.valueDtype, w.groups / w.shared, n, first / w.shared);
  else if (from.values) value = tileFloats(from.values, w.valueDtype, 0, n % 16, 0);
  bool divides = from.values && w.shared < 0;
  f32v factor = divides ? splat(1.0f) : value;
  if (from.bits == 8) eightBytes(from, w.groups, n, first, factor, to, step);
  else if (from.bits == 4 && !from.zero) eightIntegers<4, false>(from, w.groups, n, first, factor, to, step);
  else if (from.bits == 4) eightIntegers<4, true>(from, w.groups, n, first, factor, to, step);
  else if (!from.zero) eightIntegers<6, false>(from, w.groups, n, first, factor, to, step);
  else eightIntegers<6, true>(from, w.groups, n, first, factor, to, step);
  for (int j = 0; j < 8 && divides; j++) to[j * step] = to[j * step] / value;
}

/* The values of vectors · LANES rows from n on as floats, of the groups first … last - 1, at most eight. */
template <int dtype, int vectors>
static void plainGroups(const void* tiles, int32_t groups, int32_t n, int32_t first, int32_t last, f32v* to) {
  constexpr int bytes = dtype == FLOAT32 ? 4 : 2;
  const uint8_t* from = (const uint8_t*)tiles + (((size_t)(n / 16) * groups + first) * 16 + n % 16) * bytes;
  const FloatMasks<dtype> masks;
  for (; first < last; first++, from += 16 * bytes, to += vectors) {
    /* Those of the next rows lie behind, too far apart in time for the machine to see a stream. */
    __builtin_prefetch(from + 1024 * bytes);
    for (int v = 0; v < vectors; v++) to[v] = loadFloat<dtype>(from, v * LANES, masks);
  }
}

template <int vectors>
static void groupFloats(const TiledWeights& w, const TiledValues& from, int32_t n, int32_t first, int32_t last,
                        f32v* to) {
  if (from.bits)
    for (int v = 0; v < vectors; v++) eightGroups(w, from, n + v * LANES, first, to + v, vectors);
  else if (from.dtype == FLOAT32) plainGroups<FLOAT32, vectors>(from.tiles, w.groups, n, first, last, to);
  else if (from.dtype == FLOAT16) plainGroups<FLOAT16, vectors>(from.tiles, w.groups, n, first, last, to);
  else plainGroups<BFLOAT16, vectors>(from.tiles, w.groups, n, first, last, to);
}

/*
 * The scales and offsets of vectors · LANES rows from n on, group after group up to `last`: eight at a time,
 * so that no loop over columns holds the code that decodes them.
 */
template <int vectors> struct GroupValues {
  int32_t n, last;
  int32_t first = -8; /* of the eight that are decoded */
  f32v scales[8][vectors], offsets[8][vectors];
};

template <int vectors> OUTLINE void decodeGroups(const TiledWeights& w, GroupValues<vectors>& values, int32_t group) {
  /* Codes of eight groups lie together. */
  int32_t n = values.n, first = w.scale.bits | w.offset.bits ? group & ~7 : group;
  int32_t last = first + 8 < values.last ? first + 8 : values.last;
  values.first = first;
  groupFloats<vectors>(w, w.scale, n, first, last, values.scales[0]);
  if (!hasZeroPoints(w)) return groupFloats<vectors>(w, w.offset, n, first, last, values.offsets[0]);
  for (int32_t j = first; j < last; j++)
    for (int v = 0; v < vectors; v++)
      values.offsets[j - first][v] = w.offset.tiles ? tileZeroPoint(w, n + v * LANES, j) : splat((float)w.zeroPoint);
}

/* The place of a group in these. */
template <int vectors>
INLINE int groupPlace(const TiledWeights& w, GroupValues<vectors>& values, int32_t group) {
  if ((uint32_t)(group - values.first) >= 8) decodeGroups(w, values, group);
  return group - values.first;
}

/* What is taken from scale * q: the shift, or scale times the zero point. */
INLINE f32v groupShift(bool zeroPoints, f32v scale, f32v offset) { return zeroPoints ? scale * offset : offset; }

}  // namespace LOWBIT_ISA
