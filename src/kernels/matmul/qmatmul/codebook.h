#pragma once
#include "weights.h"

/* Codes of four bits as the values of a table. */

namespace LOWBIT_ISA {

#if LANES == 4

typedef uint8_t bytes16 __attribute__((vector_size(16)));

/* Byte `index` of each value of a table. */
struct CodebookBytes {
  uint8_t of[4][16];
};
template <int qtype> constexpr CodebookBytes codebookBytes = [] {
  CodebookBytes bytes{};
  for (int i = 0; i < 16; i++) {
    uint32_t bits = __builtin_bit_cast(uint32_t, qtypes[qtype].codebook[i]);
    for (int b = 0; b < 4; b++) bytes.of[b][i] = (uint8_t)(bits >> (8 * b));
  }
  return bytes;
}();

/*
 * table[index] of 16 bytes, and the bytes (pairs of bytes) of two vectors in turn: of their first and their
 * second halves.
 */
#if defined(__SSE4_1__)
INLINE bytes16 bytesAt(bytes16 table, bytes16 index) {
  return (bytes16)_mm_shuffle_epi8((__m128i)table, (__m128i)index);
}
INLINE bytes16 zipFirst(bytes16 a, bytes16 b) { return (bytes16)_mm_unpacklo_epi8((__m128i)a, (__m128i)b); }
INLINE bytes16 zipSecond(bytes16 a, bytes16 b) { return (bytes16)_mm_unpackhi_epi8((__m128i)a, (__m128i)b); }
INLINE f32v zipPairsFirst(bytes16 a, bytes16 b) { return (f32v)_mm_unpacklo_epi16((__m128i)a, (__m128i)b); }
INLINE f32v zipPairsSecond(bytes16 a, bytes16 b) { return (f32v)_mm_unpackhi_epi16((__m128i)a, (__m128i)b); }
#elif defined(__ARM_NEON)
INLINE bytes16 bytesAt(bytes16 table, bytes16 index) {
  return (bytes16)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index);
}
INLINE bytes16 zipFirst(bytes16 a, bytes16 b) { return (bytes16)vzip1q_u8((uint8x16_t)a, (uint8x16_t)b); }
INLINE bytes16 zipSecond(bytes16 a, bytes16 b) { return (bytes16)vzip2q_u8((uint8x16_t)a, (uint8x16_t)b); }
INLINE f32v zipPairsFirst(bytes16 a, bytes16 b) { return (f32v)vzip1q_u16((uint16x8_t)a, (uint16x8_t)b); }
INLINE f32v zipPairsSecond(bytes16 a, bytes16 b) { return (f32v)vzip2q_u16((uint16x8_t)a, (uint16x8_t)b); }
#else
INLINE bytes16 bytesAt(bytes16 table, bytes16 index) {
  return (bytes16)wasm_i8x16_swizzle((v128_t)table, (v128_t)index);
}
INLINE bytes16 zipFirst(bytes16 a, bytes16 b) {
  return (bytes16)wasm_i8x16_shuffle((v128_t)a, (v128_t)b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                     23);
}
INLINE bytes16 zipSecond(bytes16 a, bytes16 b) {
  return (bytes16)wasm_i8x16_shuffle((v128_t)a, (v128_t)b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14,
                                     30, 15, 31);
}
INLINE f32v zipPairsFirst(bytes16 a, bytes16 b) {
  return (f32v)wasm_i16x8_shuffle((v128_t)a, (v128_t)b, 0, 8, 1, 9, 2, 10, 3, 11);
}
INLINE f32v zipPairsSecond(bytes16 a, bytes16 b) {
  return (f32v)wasm_i16x8_shuffle((v128_t)a, (v128_t)b, 4, 12, 5, 13, 6, 14, 7, 15);
}
#endif

/*
 * The values of the four codes, one a byte, of each lane: of column `column` of them. A compiler computes
 * what four columns share once.
 */
template <int qtype> INLINE f32v codebookColumn(u32v codes, int column) {
  const bytes16 transposed = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  bytes16 index = bytesAt((bytes16)codes, transposed);
  auto plane = [&](int b) __attribute__((always_inline)) {
    return bytesAt(loadAs<bytes16>(codebookBytes<qtype>.of[b]), index);
  };
  if (column < 2) {
    bytes16 low = zipFirst(plane(0), plane(1)), high = zipFirst(plane(2), plane(3));
    return column == 0 ? zipPairsFirst(low, high) : zipPairsSecond(low, high);
  }
  bytes16 low = zipSecond(plane(0), plane(1)), high = zipSecond(plane(2), plane(3));
  return column == 2 ? zipPairsFirst(low, high) : zipPairsSecond(low, high);
}

#endif

/* The values of code j of each lane's word. */
template <int qtype> INLINE f32v codebookDecode(u32v word, int j) {
#if LANES == 4
  return codebookColumn<qtype>((word >> (4 * (j / 4))) & 0x0f0f0f0fu, j % 4);
#else
  return tableValues(qtypes[qtype].codebook, word >> Plane<4, 0>::bitOf(j));
#endif
}

}  // namespace LOWBIT_ISA
