#include "simd.h"

namespace LOWBIT_ISA {

/* The word of one row that holds the columns from c on; codes that do not exist are 0. */
template <int bits> INLINE uint32_t tilePackWord(const uint8_t* row, int32_t c, int32_t cols) {
  uint32_t word = 0;
  if constexpr (bits == 32) {
    __builtin_memcpy(&word, row + (size_t)c * 4, 4);
  } else {
    constexpr uint32_t mask = (1u << bits) - 1;
    for (int j = 0; j < 32 / bits && c + j < cols; j++) word |= (row[c + j] & mask) << (8 * (j % 4) + bits * (j / 4));
  }
  return word;
}

template <int bits> static void tilePackOf(const uint8_t* x, uint8_t* tiles, int32_t rows, int32_t cols) {
  constexpr int32_t codes = 32 / bits;
  int32_t wordsPerRow = (cols + codes - 1) / codes, tileRows = (rows + 15) / 16;
  size_t rowBytes = (size_t)cols * (bits == 32 ? 4 : 1);
  int32_t perTask = 8192 / (wordsPerRow * 16) + 1;
  parallelFor((tileRows + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t t = task * perTask; t < (task + 1) * perTask && t < tileRows; t++) {
      uint8_t* to = tiles + (size_t)t * wordsPerRow * 64;
      for (int32_t w = 0; w < wordsPerRow; w++) {
        for (int32_t r = 0; r < 16; r++) {
          int32_t row = t * 16 + r;
          uint32_t word = row < rows ? tilePackWord<bits>(x + row * rowBytes, w * codes, cols) : 0;
          __builtin_memcpy(to + ((size_t)w * 16 + r) * 4, &word, 4);
        }
      }
    }
  });
}

void tilePack(const uint8_t* x, uint8_t* tiles, int32_t bits, int32_t rows, int32_t cols) {
  switch (bits) {
    case 2: return tilePackOf<2>(x, tiles, rows, cols);
    case 4: return tilePackOf<4>(x, tiles, rows, cols);
    case 8: return tilePackOf<8>(x, tiles, rows, cols);
    case 32: return tilePackOf<32>(x, tiles, rows, cols);
  }
}

}  // namespace LOWBIT_ISA
