#include "../tilePack/word.h"

namespace LOWBIT_ISA {

/* Word w of one row of cols codes, one a byte; codes that do not exist are 0. */
template <int bits> INLINE uint32_t tilePackWord(const uint8_t* row, int32_t w, int32_t cols) {
  uint32_t word = 0;
  withWord<bits>(w, [&](auto plane, int32_t c) __attribute__((always_inline)) {
    if (c + plane.codes <= cols) {
      for (int i = 0; i < plane.codes / 4; i++)
        word |= (loadAs<uint32_t>(row + c + 4 * i) >> plane.from & plane.mask4) << plane.bitOf4(i);
      return;
    }
    for (int j = 0; j < plane.codes && c + j < cols; j++)
      word |= (row[c + j] >> plane.from & plane.mask) << plane.bitOf(j);
  });
  return word;
}

/*
 * Words of 16 whole rows, eight codes of 4 bits each: both halves of eight bytes, one shifted into the other.
 */
INLINE void tilePackHalves(const uint8_t* x, uint8_t* to, int32_t words, int32_t cols) {
  for (int32_t w = 0; w < words; w++, to += 64) {
    for (int row = 0; row < 16; row++) {
      uint64_t codes = loadAs<uint64_t>(x + (size_t)row * cols + 8 * w) & 15 * EACH_BYTE;
      storeAs(to + 4 * row, (uint32_t)(codes | codes >> 28));
    }
  }
}

template <int bits> static void tilePackCodes(const uint8_t* x, uint8_t* tiles, int32_t rows, int32_t cols) {
  int32_t words = tileWords(bits, cols);
  eachTileRow(rows, words * 4, [&](int32_t t) {
    uint8_t* to = tiles + (size_t)t * words * 64;
    int32_t w = 0;
    if constexpr (bits == 4) {
      if (t * 16 + 16 <= rows) {
        w = cols / 8;
        tilePackHalves(x + (size_t)t * 16 * cols, to, w, cols);
        to += w * 64;
      }
    }
    for (; w < words; w++) {
      for (int32_t row = t * 16; row < t * 16 + 16; row++, to += 4) {
        uint32_t word = row < rows ? tilePackWord<bits>(x + (size_t)row * cols, w, cols) : 0;
        __builtin_memcpy(to, &word, 4);
      }
    }
  });
}

/* Values of whole bytes. */
template <class T> static void tilePackValues(const uint8_t* x, uint8_t* tiles, int32_t rows, int32_t cols) {
  eachTileRow(rows, cols * sizeof(T), [&](int32_t t) {
    uint8_t* to = tiles + (size_t)t * cols * 16 * sizeof(T);
    for (int32_t c = 0; c < cols; c++) {
      for (int32_t row = t * 16; row < t * 16 + 16; row++, to += sizeof(T)) {
        storeAs(to, row < rows ? loadAs<T>(x + ((size_t)row * cols + c) * sizeof(T)) : T(0));
      }
    }
  });
}

void tilePack(const uint8_t* x, uint8_t* tiles, int32_t bits, int32_t rows, int32_t cols) {
  switch (bits) {
    case 1: return tilePackCodes<1>(x, tiles, rows, cols);
    case 2: return tilePackCodes<2>(x, tiles, rows, cols);
    case 3: return tilePackCodes<3>(x, tiles, rows, cols);
    case 4: return tilePackCodes<4>(x, tiles, rows, cols);
    case 5: return tilePackCodes<5>(x, tiles, rows, cols);
    case 6: return tilePackCodes<6>(x, tiles, rows, cols);
    case 7: return tilePackCodes<7>(x, tiles, rows, cols);
    case 8: return tilePackCodes<8>(x, tiles, rows, cols);
    case 16: return tilePackValues<uint16_t>(x, tiles, rows, cols);
    case 32: return tilePackValues<uint32_t>(x, tiles, rows, cols);
    default: __builtin_trap();
  }
}

}  // namespace LOWBIT_ISA
