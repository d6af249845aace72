#pragma once
#include "weights.h"

/* Codes of four bits as the values of a table. */

namespace LOWBIT_ISA {

/*
 * The shift by which a table's values are whole numbers of a signed byte, value · 2^shift; −1: there is none.
 */
template <int qtype> constexpr int codebookShift = [] {
  for (int shift = 0; shift < 4; shift++) {
    bool whole = isCodebook<qtype>;
    for (float value : qtypes[qtype].codebook) {
      float scaled = value * (1 << shift);
      whole = whole && scaled >= -128 && scaled <= 127 && scaled == (int)scaled;
    }
    if (whole) return shift;
  }
  return -1;
}();
/* Whether codes become such bytes, four by one look-up; on AVX-512 one look-up gives floats. */
template <int qtype> constexpr bool hasByteValues = LANES <= 8 && codebookShift<qtype> >= 0;

#if LANES <= 8

typedef uint8_t bytesv __attribute__((vector_size(LANES * 4)));

/* Byte `index` of each value of a table, once for every 16 bytes of a vector; whole numbers in the last. */
struct CodebookBytes {
  alignas(32) uint8_t of[5][4 * LANES];
};
template <int qtype> constexpr CodebookBytes codebookBytes = [] {
  CodebookBytes bytes{};
  for (int i = 0; i < 4 * LANES; i++) {
    float value = qtypes[qtype].codebook[i % 16];
    uint32_t bits = __builtin_bit_cast(uint32_t, value);
    for (int b = 0; b < 4; b++) bytes.of[b][i] = (uint8_t)(bits >> (8 * b));
    if (hasByteValues<qtype>) bytes.of[4][i] = (uint8_t)(int)(value * (1 << codebookShift<qtype>));
  }
  return bytes;
}();

/*
 * table[index] of 16 bytes, and the bytes (pairs of bytes) of two vectors in turn: of their first and their
 * second halves; in vectors of 32 bytes of the halves of 16 bytes each.
 */
#if LANES == 8
INLINE bytesv bytesAt(bytesv table, bytesv index) {
  return (bytesv)_mm256_shuffle_epi8((__m256i)table, (__m256i)index);
}
INLINE bytesv zipFirst(bytesv a, bytesv b) { return (bytesv)_mm256_unpacklo_epi8((__m256i)a, (__m256i)b); }
INLINE bytesv zipSecond(bytesv a, bytesv b) { return (bytesv)_mm256_unpackhi_epi8((__m256i)a, (__m256i)b); }
INLINE f32v zipPairsFirst(bytesv a, bytesv b) {
  return (f32v)_mm256_unpacklo_epi16((__m256i)a, (__m256i)b);
}
INLINE f32v zipPairsSecond(bytesv a, bytesv b) {
  return (f32v)_mm256_unpackhi_epi16((__m256i)a, (__m256i)b);
}
#elif defined(__SSE4_1__)
INLINE bytesv bytesAt(bytesv table, bytesv index) {
  return (bytesv)_mm_shuffle_epi8((__m128i)table, (__m128i)index);
}
INLINE bytesv zipFirst(bytesv a, bytesv b) { return (bytesv)_mm_unpacklo_epi8((__m128i)a, (__m128i)b); }
INLINE bytesv zipSecond(bytesv a, bytesv b) { return (bytesv)_mm_unpackhi_epi8((__m128i)a, (__m128i)b); }
INLINE f32v zipPairsFirst(bytesv a, bytesv b) { return (f32v)_mm_unpacklo_epi16((__m128i)a, (__m128i)b); }
INLINE f32v zipPairsSecond(bytesv a, bytesv b) { return (f32v)_mm_unpackhi_epi16((__m128i)a, (__m128i)b); }
#elif defined(__ARM_NEON)
INLINE bytesv bytesAt(bytesv table, bytesv index) {
  return (bytesv)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index);
}
INLINE bytesv zipFirst(bytesv a, bytesv b) { return (bytesv)vzip1q_u8((uint8x16_t)a, (uint8x16_t)b); }
INLINE bytesv zipSecond(bytesv a, bytesv b) { return (bytesv)vzip2q_u8((uint8x16_t)a, (uint8x16_t)b); }
INLINE f32v zipPairsFirst(bytesv a, bytesv b) { return (f32v)vzip1q_u16((uint16x8_t)a, (uint16x8_t)b); }
INLINE f32v zipPairsSecond(bytesv a, bytesv b) { return (f32v)vzip2q_u16((uint16x8_t)a, (uint16x8_t)b); }
#else
INLINE bytesv bytesAt(bytesv table, bytesv index) {
  return (bytesv)wasm_i8x16_swizzle((v128_t)table, (v128_t)index);
}
INLINE bytesv zipFirst(bytesv a, bytesv b) {
  return (bytesv)wasm_i8x16_shuffle((v128_t)a, (v128_t)b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                     23);
}
INLINE bytesv zipSecond(bytesv a, bytesv b) {
  return (bytesv)wasm_i8x16_shuffle((v128_t)a, (v128_t)b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14,
                                     30, 15, 31);
}
INLINE f32v zipPairsFirst(bytesv a, bytesv b) {
  return (f32v)wasm_i16x8_shuffle((v128_t)a, (v128_t)b, 0, 8, 1, 9, 2, 10, 3, 11);
}
INLINE f32v zipPairsSecond(bytesv a, bytesv b) {
  return (f32v)wasm_i16x8_shuffle((v128_t)a, (v128_t)b, 4, 12, 5, 13, 6, 14, 7, 15);
}
#endif

/* Byte `byte` of the values of a byte's code; 4: the whole numbers. */
template <int qtype> INLINE bytesv codebookLookUp(int byte, bytesv codes) {
  return bytesAt(loadAs<bytesv>(codebookBytes<qtype>.of[byte]), codes);
}

/* Codes 4·i … 4·i + 3 of each lane's word, one a byte. */
INLINE bytesv codebookQuad(u32v word, int i) { return (bytesv)((word >> (4 * i)) & 0x0f0f0f0fu); }

/* 2^place times the value of code j of each lane's word, a whole number in a byte. */
template <int qtype> constexpr int codebookPlace = 24 + codebookShift<qtype>;
template <int qtype> INLINE f32v codebookInPlace(u32v word, int j) {
  u32v bytes = (u32v)codebookLookUp<qtype>(4, codebookQuad(word, j / 4));
  return convert((i32v)((bytes << (24 - 8 * (j % 4))) & 0xff000000u));
}

/*
 * The values of the four codes, one a byte, of each lane: of column `column` of them. A compiler computes
 * what four columns share once.
 */
template <int qtype> INLINE f32v codebookColumn(u32v codes, int column) {
#if LANES == 8
  const bytesv transposed = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
                             0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
#else
  const bytesv transposed = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
#endif
  bytesv index = bytesAt((bytesv)codes, transposed);
  auto plane = [&](int b) __attribute__((always_inline)) {
    return codebookLookUp<qtype>(b, index);
  };
  if (column < 2) {
    bytesv low = zipFirst(plane(0), plane(1)), high = zipFirst(plane(2), plane(3));
    return column == 0 ? zipPairsFirst(low, high) : zipPairsSecond(low, high);
  }
  bytesv low = zipSecond(plane(0), plane(1)), high = zipSecond(plane(2), plane(3));
  return column == 2 ? zipPairsFirst(low, high) : zipPairsSecond(low, high);
}

#endif

/*
 * One row of x on AVX2, whose shuffles are few: rows of w are left to stand side by side, four columns of one
 * in each half of a vector,
 *
 *     rows[r]    row r: columns 0 … 3 │ row r + 4: columns 0 … 3
 *
 * since making columns of them takes one shuffle more for every four. x has its columns in both halves.
 */
template <int qtype> constexpr bool isByRows = LANES == 8 && isCodebook<qtype> && !hasByteValues<qtype>;

#if LANES == 8
template <int qtype> INLINE void codebookRows(u32v word, int i, f32v (&rows)[4]) {
  const bytesv codes = codebookQuad(word, i);
  auto plane = [&](int b) __attribute__((always_inline)) { return codebookLookUp<qtype>(b, codes); };
  const bytesv b0 = plane(0), b1 = plane(1), b2 = plane(2), b3 = plane(3);
  const bytesv low = zipFirst(b0, b1), high = zipFirst(b2, b3);
  rows[0] = zipPairsFirst(low, high), rows[1] = zipPairsSecond(low, high);
  const bytesv low2 = zipSecond(b0, b1), high2 = zipSecond(b2, b3);
  rows[2] = zipPairsFirst(low2, high2), rows[3] = zipPairsSecond(low2, high2);
}
INLINE f32v twiceFour(const float* x) { return _mm256_broadcast_ps((const __m128*)x); }
/* The sums of each row's lanes, one row a lane. */
INLINE f32v sumRows(f32v r0, f32v r1, f32v r2, f32v r3) {
  return _mm256_hadd_ps(_mm256_hadd_ps(r0, r1), _mm256_hadd_ps(r2, r3));
}
#else
template <int qtype> INLINE void codebookRows(u32v, int, f32v (&)[4]) {}
INLINE f32v twiceFour(const float*) { return f32v{}; }
INLINE f32v sumRows(f32v, f32v, f32v, f32v) { return f32v{}; }
#endif

/* The values of code j of each lane's word. */
template <int qtype> INLINE f32v codebookDecode(u32v word, int j) {
#if LANES <= 8
  if constexpr (hasByteValues<qtype>)
    return codebookInPlace<qtype>(word, j) * floatOf((127u - codebookPlace<qtype>) << 23);
  return codebookColumn<qtype>((u32v)codebookQuad(word, j / 4), j % 4);
#else
  return tableValues(qtypes[qtype].codebook, word >> Plane<4, 0>::bitOf(j));
#endif
}

}  // namespace LOWBIT_ISA
