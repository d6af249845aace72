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

}  // namespace LOWBIT_ISA
