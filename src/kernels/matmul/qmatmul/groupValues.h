#pragma once
#include "weights.h"

/*
 * Scales and shifts of groups, as floats with one row a lane. Codes are integers, from which `zero` is taken, or
 * 8-bit floats, times a value of 16 or 32 bits that several groups share:
 *
 *     codes     [N, groups] in tiles of 4, 6 or 8 bits
 *     values    [N, groups / shared] in tiles; with shared = 0 one tile [16, 1] that serves all rows; or none
 *
 * shared is a multiple of 8, or all groups of a row, so that eight groups from a multiple of eight on have one
 * value: they are decoded together, out of the same words.
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

/* Whether integers are taken from codes, of each group or of all: zero points; else floats from scaled ones. */
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

/* to[j] = v(code of group first + j), j = 0 … 7, of codes in words word(i) of the row. */
template <int bits, class Word>
INLINE void decodeCodes(const TiledValues& from, int32_t groups, int32_t first, f32v* to, Word&& word) {
  u32v low = word(bits == 6 ? first / 32 * 6 + first % 32 / 8 : first * bits / 32), high{};
  if (bits == 6) high = word(first / 32 * 6 + 4 + first % 32 / 16) >> (first % 16 / 8 * 4);
  /* The words of a row may end in the middle. */
  if (bits == 8 && first + 4 < groups) high = word(first / 4 + 1);
#pragma GCC unroll 8
  for (int j = 0; j < 8; j++) {
    if (bits == 8) {
      u32v code = ((j < 4 ? low : high) >> (8 * (j % 4))) & 0xffu;
      if (from.dtype == INT8) to[j] = convert((i32v)(code << 24) >> 24);
      else to[j] = from.dtype == UINT8 ? convert((i32v)code - from.zero) : decodeBytes(code, from.dtype);
      continue;
    }
    u32v code = (low >> Plane<4, 0>::bitOf(j)) & 15u;
    if (bits == 6) code |= ((high >> Plane<2, 4>::bitOf(j)) & 3u) << 4;
    to[j] = convert((i32v)code - from.zero);
  }
}

/* to[j] = scale or shift of group first + j of the rows n … n + LANES - 1, first a multiple of 8. */
static void eightGroups(const TiledWeights& w, const TiledValues& from, int32_t n, int32_t first, f32v* to) {
  auto decode = [&](auto bits) {
    constexpr int of = decltype(bits)::value;
    int32_t wordsPerRow = tileWords(of, w.groups);
    decodeCodes<of>(from, w.groups, first, to, [&](int32_t word) __attribute__((always_inline)) {
      return tileWord(from.tiles, wordsPerRow, n, word);
    });
  };
  if (from.bits == 4) decode(Constant<4>{});
  else if (from.bits == 6) decode(Constant<6>{});
  else decode(Constant<8>{});
  if (!from.values) return;
  f32v value = w.shared ? tileFloats(from.values, w.valueDtype, w.groups / w.shared, n, first / w.shared)
                        : tileFloats(from.values, w.valueDtype, 0, n % 16, 0);
#pragma GCC unroll 8
  for (int j = 0; j < 8; j++) to[j] *= value;
}

/* The scales and shifts of the rows n … n + LANES - 1, group after group. */
struct GroupValues {
  int32_t n;
  int32_t first; /* of the eight groups that are decoded */
  f32v scales[8], shifts[8];
};

static void decodeGroups(const TiledWeights& w, GroupValues& values, int32_t group) {
  values.first = group & ~7;
  if (w.scale.bits) eightGroups(w, w.scale, values.n, values.first, values.scales);
  if (w.offset.bits) eightGroups(w, w.offset, values.n, values.first, values.shifts);
}

/* To be called first for each group. */
INLINE f32v groupScale(const TiledWeights& w, GroupValues& values, int32_t group) {
  if ((w.scale.bits | w.offset.bits) && (uint32_t)(group - values.first) >= 8) decodeGroups(w, values, group);
  return w.scale.bits ? values.scales[group % 8]
                      : tileFloats(w.scale.tiles, w.scale.dtype, w.groups, values.n, group);
}

INLINE f32v groupZeroPoint(const TiledWeights& w, const GroupValues& values, int32_t group) {
  return w.offset.tiles ? tileZeroPoint(w, values.n, group) : splat((float)w.zeroPoint);
}

/* What is taken from scale * q: the shift, or scale times the zero point. */
INLINE f32v groupShift(const TiledWeights& w, const GroupValues& values, int32_t group, f32v scale) {
  if (hasZeroPoints(w)) return scale * groupZeroPoint(w, values, group);
  return w.offset.bits ? values.shifts[group % 8]
                       : tileFloats(w.offset.tiles, w.offset.dtype, w.groups, values.n, group);
}

}  // namespace LOWBIT_ISA
