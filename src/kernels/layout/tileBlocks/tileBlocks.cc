#include "../tileBlocks/block.h"

namespace LOWBIT_ISA {

/* Bits 0, 4, 8 … 28 of x as the eight bits of a byte. */
INLINE uint32_t everyFourthBit(uint32_t x) {
  x &= 0x11111111;
  x = (x | x >> 3) & 0x03030303;
  x = (x | x >> 6) & 0x000f000f;
  return (x | x >> 12) & 0xff;
}

/* The words of one block, 16 words apart. */
template <class B> INLINE void tileBlock(const uint8_t* block, uint8_t* to) {
  auto put = [&](int w, uint32_t word) { storeAs(to + w * 64, word); };
  auto quad = [&](int i) { return loadAs<uint32_t>(block + B::codesAt + 4 * i); };
  if constexpr (B::bits == 8) {
    for (int w = 0; w < 8; w++) put(w, quad(w));
    return;
  }
  /*
   * Low nibbles are columns 0–15, high ones 16–31; a word takes eight columns, the last four as high nibbles.
   */
  for (int w = 0; w < 2; w++) {
    uint32_t first = quad(2 * w), second = quad(2 * w + 1);
    put(w, (first & LOW_NIBBLES) | (second & LOW_NIBBLES) << 4);
    put(w + 2, (first >> 4 & LOW_NIBBLES) | (second & ~LOW_NIBBLES));
  }
  if constexpr (B::bits == 5) {
    uint32_t high = loadAs<uint32_t>(block + B::codesAt - 4);
    uint32_t planes = 0;
    for (int b = 0; b < 4; b++) planes |= everyFourthBit(high >> b) << (8 * b);
    put(4, planes);
  }
}

void tileBlocks(const uint8_t* blocks, int32_t type, uint8_t* codeTiles, uint8_t* scaleTiles,
                uint8_t* shiftTiles, int32_t rows, int32_t cols) {
  withBlock(type, [&](auto block) {
    using B = decltype(block);
    int32_t groups = cols / 32;
    eachTileRow(rows, (size_t)groups * B::bytes, [&](int32_t t) {
      for (int32_t g = 0; g < groups; g++) {
        size_t column = (size_t)t * groups + g;
        uint8_t* to = codeTiles + column * B::words * 64;
        uint16_t scales[16] = {}, shifts[16] = {};
        if (t * 16 + 16 > rows) __builtin_memset(to, 0, B::words * 64);
        for (int32_t r = 0; r < 16 && t * 16 + r < rows; r++) {
          const uint8_t* from = blocks + ((size_t)(t * 16 + r) * groups + g) * B::bytes;
          tileBlock<B>(from, to + r * 4);
          scales[r] = loadAs<uint16_t>(from);
          shifts[r] = loadAs<uint16_t>(from + 2);
        }
        __builtin_memcpy(scaleTiles + column * 32, scales, 32);
        if (!shiftTiles) continue;
        constexpr float multiple = B::bits == 5 ? 16 : 8;
        for (int32_t r = 0; r < 16; r += LANES) {
          if (B::minimum) break;
          storeFloat<FLOAT16>(shifts, r, loadFloat<FLOAT16>(scales, r) * multiple);
        }
        for (int32_t r = 0; r < 16 && t * 16 + r < rows; r++) shifts[r] ^= B::minimum ? 0x8000 : 0;
        __builtin_memcpy(shiftTiles + column * 32, shifts, 32);
      }
    });
  });
}

}  // namespace LOWBIT_ISA
