#include "../tilePack/word.h"

namespace LOWBIT_ISA {

/* Word w of a row of cols codes back into them; the first plane comes first, the others add their bits. */
template <int bits> INLINE void tileUnpackWord(uint32_t word, uint8_t* row, int32_t w, int32_t cols) {
  withWord<bits>(w, [&](auto plane, int32_t c) __attribute__((always_inline)) {
    if (c + plane.codes <= cols) {
      for (int i = 0; i < plane.codes / 4; i++) {
        uint32_t pieces = (word >> plane.bitOf4(i) & plane.mask4) << plane.from;
        uint8_t* to = row + c + 4 * i;
        storeAs(to, plane.from ? loadAs<uint32_t>(to) | pieces : pieces);
      }
      return;
    }
    for (int j = 0; j < plane.codes && c + j < cols; j++) {
      uint8_t piece = (uint8_t)((word >> plane.bitOf(j) & plane.mask) << plane.from);
      row[c + j] = plane.from ? row[c + j] | piece : piece;
    }
  });
}

template <int bits>
static void tileUnpackCodes(const uint8_t* tiles, uint8_t* x, int32_t rows, int32_t cols) {
  int32_t words = tileWords(bits, cols);
  eachTileRow(rows, words * 4, [&](int32_t t) {
    const uint8_t* from = tiles + (size_t)t * words * 64;
    for (int32_t w = 0; w < words; w++, from += 64) {
      for (int32_t r = 0; r < 16 && t * 16 + r < rows; r++) {
        tileUnpackWord<bits>(loadAs<uint32_t>(from + r * 4), x + (size_t)(t * 16 + r) * cols, w, cols);
      }
    }
  });
}

template <class T>
static void tileUnpackValues(const uint8_t* tiles, uint8_t* x, int32_t rows, int32_t cols) {
  eachTileRow(rows, cols * sizeof(T), [&](int32_t t) {
    const uint8_t* from = tiles + (size_t)t * cols * 16 * sizeof(T);
    for (int32_t c = 0; c < cols; c++, from += 16 * sizeof(T)) {
      for (int32_t r = 0; r < 16 && t * 16 + r < rows; r++) {
        storeAs(x + ((size_t)(t * 16 + r) * cols + c) * sizeof(T), loadAs<T>(from + r * sizeof(T)));
      }
    }
  });
}

void tileUnpack(const uint8_t* tiles, uint8_t* x, int32_t bits, int32_t rows, int32_t cols) {
  switch (bits) {
    case 1: return tileUnpackCodes<1>(tiles, x, rows, cols);
    case 2: return tileUnpackCodes<2>(tiles, x, rows, cols);
    case 3: return tileUnpackCodes<3>(tiles, x, rows, cols);
    case 4: return tileUnpackCodes<4>(tiles, x, rows, cols);
    case 5: return tileUnpackCodes<5>(tiles, x, rows, cols);
    case 6: return tileUnpackCodes<6>(tiles, x, rows, cols);
    case 7: return tileUnpackCodes<7>(tiles, x, rows, cols);
    case 8: return tileUnpackCodes<8>(tiles, x, rows, cols);
    case 16: return tileUnpackValues<uint16_t>(tiles, x, rows, cols);
    case 32: return tileUnpackValues<uint32_t>(tiles, x, rows, cols);
    default: __builtin_trap();
  }
}

}  // namespace LOWBIT_ISA
