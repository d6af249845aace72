#include "../tileBlocks/block.h"

namespace LOWBIT_ISA {

/* The eight bits of a byte at bits 0, 4, 8 … 28. */
INLINE uint32_t spreadByFour(uint32_t x) {
  x = (x | x << 12) & 0x000f000f;
  x = (x | x << 6) & 0x03030303;
  return (x | x << 3) & 0x11111111;
}

/* The codes of one block from its words, 16 words apart. */
template <class B> INLINE void untileBlock(const uint8_t* from, uint8_t* block) {
  auto word = [&](int w) { return loadAs<uint32_t>(from + w * 64); };
  auto put = [&](int i, uint32_t quad) { storeAs(block + B::codesAt + 4 * i, quad); };
  if constexpr (B::bits == 8) {
    for (int w = 0; w < 8; w++) put(w, word(w));
    return;
  }
  for (int w = 0; w < 2; w++) {
    put(2 * w, (word(w) & LOW_NIBBLES) | (word(w + 2) & LOW_NIBBLES) << 4);
    put(2 * w + 1, (word(w) >> 4 & LOW_NIBBLES) | (word(w + 2) & ~LOW_NIBBLES));
  }
  if constexpr (B::bits == 5) {
    uint32_t high = 0;
    for (int b = 0; b < 4; b++) high |= spreadByFour(word(4) >> (8 * b) & 0xff) << b;
    storeAs(block + B::codesAt - 4, high);
  }
}

void untileBlocks(const uint8_t* codeTiles, const uint8_t* scaleTiles, const uint8_t* shiftTiles,
                  int32_t type, uint8_t* blocks, int32_t rows, int32_t cols) {
  withBlock(type, [&](auto block) {
    using B = decltype(block);
    int32_t groups = cols / 32;
    eachTileRow(rows, (size_t)groups * B::bytes, [&](int32_t t) {
      for (int32_t g = 0; g < groups; g++) {
        size_t column = (size_t)t * groups + g;
        for (int32_t r = 0; r < 16 && t * 16 + r < rows; r++) {
          uint8_t* to = blocks + ((size_t)(t * 16 + r) * groups + g) * B::bytes;
          storeAs(to, loadAs<uint16_t>(scaleTiles + column * 32 + r * 2));
          if constexpr (B::minimum)
            storeAs(to + 2, (uint16_t)(loadAs<uint16_t>(shiftTiles + column * 32 + r * 2) ^ 0x8000));
          untileBlock<B>(codeTiles + column * B::words * 64 + r * 4, to);
        }
      }
    });
  });
}

}  // namespace LOWBIT_ISA
