#pragma once
#include "simd.h"

/* Where codes stand in packed lines; drawn in unpackCodes.ts. */

namespace LOWBIT_ISA {

/* The codes of a word of at most 32 bits, where they stand in an order. */
struct CodePlaces {
  int32_t perWord;
  uint8_t places[32]; /* of code j % perWord */

  CodePlaces(const uint8_t* order, int32_t bits, int32_t wordBytes)
      : perWord(order ? 8 * wordBytes / bits : 1) {
    places[0] = 0;
    if (order) for (int32_t p = 0; p < perWord; p++) places[order[p]] = (uint8_t)p;
  }
  int64_t of(int64_t j) const { return perWord == 1 ? j : j - j % perWord + places[j % perWord]; }
};

INLINE uint64_t readWord(const uint8_t* packed, int64_t word, int32_t wordBytes) {
  if (wordBytes == 1) return packed[word];
  uint32_t value;
  __builtin_memcpy(&value, packed + 4 * word, 4);
  return value;
}

/*
 * Whether codes of 4 or 8 bits in order fill words of 32 bits and stand side by side in their lines: a word makes as
 * many bytes as it has codes.
 */
INLINE bool fillsWords(const uint8_t* order, int32_t bits, int32_t wordBytes, int32_t lines, int32_t length, int32_t lineCodes,
                       int32_t stepCodes, int32_t count) {
  return !order && wordBytes == 4 && stepCodes == 1 && (bits == 4 || bits == 8) && length * bits % 32 == 0 &&
         (int64_t)(lines - 1) * lineCodes + length <= count;
}

/* Lines whose words are looked at together: some cache lines of words that lie side by side. */
constexpr int32_t WORD_LINES = 64;

/*
 * Whether whole words of 32 bits hold codes of lines that stand side by side: the codes of a word are as many rows,
 * in each of which the lines follow one another.
 */
INLINE bool crossesWords(int32_t bits, int32_t wordBytes, int32_t lines, int32_t length, int32_t lineCodes,
                         int32_t stepCodes, int32_t count) {
  return wordBytes == 4 && lineCodes == 1 && 32 % bits == 0 && length * bits % 32 == 0 &&
         (int64_t)(length - 1) * stepCodes + lines <= count;
}

/* Of these, words of a line, and lines, that are turned together: a cache line of each. */
constexpr int32_t TURNED_WORDS = 16, TURNED_LINES = 64;

/* body(first line, lines, first word, words) for pieces of them. */
template <class Body> INLINE void eachTurned(int32_t lines, int32_t words, Body body) {
  const int32_t across = (lines + TURNED_LINES - 1) / TURNED_LINES;
  parallelFor((words + TURNED_WORDS - 1) / TURNED_WORDS, [&](int32_t task) {
    const int32_t w = task * TURNED_WORDS, count = words - w < TURNED_WORDS ? words - w : TURNED_WORDS;
    for (int32_t a = 0; a < across; a++) {
      const int32_t line = a * TURNED_LINES;
      body(line, lines - line < TURNED_LINES ? lines - line : TURNED_LINES, w, count);
    }
  });
}

/* Eight codes of 4 bits, each in a byte. */
INLINE uint64_t spreadNibbles(uint64_t x) {
  x = (x | x << 16) & 0x0000ffff0000ffffull;
  x = (x | x << 8) & 0x00ff00ff00ff00ffull;
  return (x | x << 4) & 0x0f0f0f0f0f0f0f0full;
}

/* The inverse. */
INLINE uint32_t gatherNibbles(uint64_t x) {
  x = (x | x >> 4) & 0x00ff00ff00ff00ffull;
  x = (x | x >> 8) & 0x0000ffff0000ffffull;
  return (uint32_t)(x | x >> 16);
}

/* The codes of a word, one a byte. */
INLINE void spreadWord(uint32_t word, int32_t bits, uint8_t* codes) {
  if (bits == 8) {
    __builtin_memcpy(codes, &word, 4);
    return;
  }
  uint64_t bytes = spreadNibbles(word);
  __builtin_memcpy(codes, &bytes, 8);
}

/* The inverse; what codes have above their bits does not count. */
INLINE uint32_t gatherWord(const uint8_t* codes, int32_t bits) {
  if (bits == 8) {
    uint32_t word;
    __builtin_memcpy(&word, codes, 4);
    return word;
  }
  uint64_t bytes;
  __builtin_memcpy(&bytes, codes, 8);
  return gatherNibbles(bytes & 0x0f0f0f0f0f0f0f0full);
}

}  // namespace LOWBIT_ISA
