#pragma once
#include "simd.h"

/* Words of tiles (drawn at tilePack.ts), one row at a time. */

namespace LOWBIT_ISA {

/* Words per row. */
INLINE int32_t tileWords(int32_t bits, int32_t cols) {
  return bits == 5 ? (cols + 31) / 32 * 5 : (int32_t)(((int64_t)cols * bits + 31) / 32);
}

/* The lowest bit of code j in its word. */
template <int bits> INLINE int tileBit(int j) { return 8 * (j % 4) + bits * (j / 4); }

/* A word of up to `count` codes, one a byte; those that do not exist are 0. */
template <int bits> INLINE uint32_t packWord(const uint8_t* codes, int32_t count) {
  uint32_t word = 0;
  for (int j = 0; j < 32 / bits && j < count; j++) word |= (uint32_t)(codes[j] & ((1u << bits) - 1)) << tileBit<bits>(j);
  return word;
}
template <int bits> INLINE void unpackWord(uint32_t word, uint8_t* codes, int32_t count) {
  for (int j = 0; j < 32 / bits && j < count; j++) codes[j] = (uint8_t)((word >> tileBit<bits>(j)) & ((1u << bits) - 1));
}

/* body(tile row) for each of them; several short ones a task. */
template <class Body> INLINE void eachTileRow(int32_t rows, size_t bytesPerRow, Body body) {
  int32_t tileRows = (rows + 15) / 16, perTask = (int32_t)(32768 / (bytesPerRow * 16) + 1);
  parallelFor((tileRows + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t t = task * perTask; t < (task + 1) * perTask && t < tileRows; t++) body(t);
  });
}

}  // namespace LOWBIT_ISA
