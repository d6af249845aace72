#pragma once
#include "simd.h"

/* Words of tiles (drawn at tilePack.ts), one row at a time. */

namespace LOWBIT_ISA {

/* Some bits of codes that lie in words of their own: `bits` of them, from bit `from` of the code on. */
template <int planeBits, int firstBit> struct Plane {
  static constexpr int bits = planeBits, from = firstBit;
  static constexpr int codes = 32 / bits; /* a word */
  static constexpr uint32_t mask = (1u << bits) - 1;

  /* The lowest bit of code j in its word. */
  static constexpr int bitOf(int j) { return 8 * (j % 4) + bits * (j / 4); }

  /* Of four bytes of consecutive codes these bits, and where the codes 4i … 4i+3 have them in a word. */
  static constexpr uint32_t mask4 = mask * 0x01010101u;
  static constexpr int bitOf4(int i) { return bits * i; }
};

/* body(plane) for each plane of codes of so many bits, those with the lowest bits first. */
template <int bits, class Body> INLINE void eachPlane(Body&& body) {
  if constexpr (bits & 8) body(Plane<8, 0>{});
  if constexpr (bits & 4) body(Plane<4, 0>{});
  if constexpr (bits & 2) body(Plane<2, bits & 4>{});
  if constexpr (bits & 1) body(Plane<1, bits & 6>{});
}
constexpr bool isOnePlane(int bits) { return (bits & (bits - 1)) == 0; }

/* Words per row. */
INLINE int32_t tileWords(int32_t bits, int32_t cols) {
  return isOnePlane(bits) ? (int32_t)(((int64_t)cols * bits + 31) / 32) : (cols + 31) / 32 * bits;
}

/*
 * body(plane, first column) of word w of a row: `bits` words hold 32 columns, those of a plane begin at word
 * `from`.
 */
template <int bits, class Body> INLINE void withWord(int32_t w, Body&& body) {
  int32_t word = w % bits;
  eachPlane<bits>([&](auto plane) __attribute__((always_inline)) {
    if (word < plane.from || word >= plane.from + plane.bits) return;
    body(plane, w / bits * 32 + (word - plane.from) * plane.codes);
  });
}

/* body(tile row) for each of them; several short ones a task. */
template <class Body> INLINE void eachTileRow(int32_t rows, size_t bytesPerRow, Body body) {
  int32_t tileRows = (rows + 15) / 16, perTask = (int32_t)(32768 / (bytesPerRow * 16) + 1);
  parallelFor((tileRows + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t t = task * perTask; t < (task + 1) * perTask && t < tileRows; t++) body(t);
  });
}

}  // namespace LOWBIT_ISA
