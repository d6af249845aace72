#include "simd.h"

namespace LOWBIT_ISA {

template <int bits> static void tileUnpackOf(const uint8_t* tiles, uint8_t* x, int32_t rows, int32_t cols) {
  constexpr int32_t codes = 32 / bits;
  int32_t wordsPerRow = (cols + codes - 1) / codes, tileRows = (rows + 15) / 16;
  size_t rowBytes = (size_t)cols * (bits == 32 ? 4 : 1);
  int32_t perTask = 8192 / (wordsPerRow * 16) + 1;
  parallelFor((tileRows + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t t = task * perTask; t < (task + 1) * perTask && t < tileRows; t++) {
      const uint8_t* from = tiles + (size_t)t * wordsPerRow * 64;
      for (int32_t w = 0; w < wordsPerRow; w++) {
        for (int32_t r = 0; r < 16 && t * 16 + r < rows; r++) {
          uint32_t word;
          __builtin_memcpy(&word, from + ((size_t)w * 16 + r) * 4, 4);
          uint8_t* row = x + (t * 16 + r) * rowBytes;
          if constexpr (bits == 32) {
            __builtin_memcpy(row + (size_t)w * 4, &word, 4);
          } else {
            int32_t c = w * codes;
            constexpr uint32_t mask = (1u << bits) - 1;
            for (int j = 0; j < codes && c + j < cols; j++) row[c + j] = (uint8_t)((word >> (8 * (j % 4) + bits * (j / 4))) & mask);
          }
        }
      }
    }
  });
}

void tileUnpack(const uint8_t* tiles, uint8_t* x, int32_t bits, int32_t rows, int32_t cols) {
  switch (bits) {
    case 2: return tileUnpackOf<2>(tiles, x, rows, cols);
    case 4: return tileUnpackOf<4>(tiles, x, rows, cols);
    case 8: return tileUnpackOf<8>(tiles, x, rows, cols);
    case 32: return tileUnpackOf<32>(tiles, x, rows, cols);
  }
}

}  // namespace LOWBIT_ISA
