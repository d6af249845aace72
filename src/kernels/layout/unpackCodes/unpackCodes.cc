#include "codes.h"
#include "../../quantize/quantize/codes.h"

namespace LOWBIT_ISA {

void unpackCodes(const uint8_t* packed, uint8_t* codes, const uint8_t* order, int32_t bits, int32_t wordBytes,
                 int32_t lines, int32_t length, int32_t lineWords, int32_t stepWords, int32_t lineCodes,
                 int32_t stepCodes, int32_t count) {
  CodePlaces places(order, bits, wordBytes);
  const int32_t wordBits = 8 * wordBytes;
  const uint32_t mask = (1u << bits) - 1;
  /*
   * Bytes side by side whose codes lie far apart, as quanto's: a row of bytes makes a row of each of its
   * codes.
   */
  if (wordBytes == 1 && lineWords == 1 && lineCodes == 1 && length * bits == 8) {
    return eachPiece(lines, [&](int32_t first, int32_t end) {
      for (int32_t j = 0; j < length; j++) {
        int64_t offset = (int64_t)j * stepCodes;
        int32_t last = count - offset < end ? (int32_t)(count - offset) : end,
                shift = (int32_t)places.of(j) * bits;
        int32_t i = first;
        for (; i <= last - 4 * LANES; i += 4 * LANES)
          storeAs(codes + offset + i, loadAs<u32v>(packed + i) >> shift & mask * 0x01010101u);
        for (; i < last; i++) codes[offset + i] = (uint8_t)(packed[i] >> shift & mask);
      }
    });
  }
  if (fillsWords(order, bits, wordBytes, lines, length, lineCodes, stepCodes, count)) {
    const int32_t perWord = 32 / bits, words = length / perWord;
    return parallelFor((lines + WORD_LINES - 1) / WORD_LINES, [&](int32_t task) {
      const int32_t first = task * WORD_LINES, end = first + WORD_LINES < lines ? first + WORD_LINES : lines;
      for (int32_t w = 0; w < words; w++)
        for (int32_t line = first; line < end; line++)
          spreadWord((uint32_t)readWord(packed, (int64_t)line * lineWords + (int64_t)w * stepWords, 4), bits,
                     codes + (int64_t)line * lineCodes + w * perWord);
    });
  }
  if (crossesWords(bits, wordBytes, lines, length, lineCodes, stepCodes, count)) {
    const int32_t perWord = 32 / bits;
    return eachTurned(lines, length / perWord, [&](int32_t line, int32_t across, int32_t w, int32_t down) {
      uint32_t turned[TURNED_WORDS][TURNED_LINES];
      for (int32_t j = 0; j < across; j++)
        for (int32_t i = 0; i < down; i++)
          turned[i][j] =
              (uint32_t)readWord(packed, (int64_t)(line + j) * lineWords + (int64_t)(w + i) * stepWords, 4);
      for (int32_t i = 0; i < down; i++)
        for (int32_t place = 0; place < perWord; place++) {
          const int64_t row = (int64_t)(w + i) * perWord + (order ? order[place] : place);
          uint8_t* to = codes + row * stepCodes + line;
          int32_t j = 0;
          for (; j <= across - LANES; j += LANES)
            storeAs(to + j, __builtin_convertvector(loadAs<u32v>(turned[i] + j) >> place * bits & mask, u8v));
          for (; j < across; j++) to[j] = (uint8_t)(turned[i][j] >> place * bits & mask);
        }
    });
  }
  eachPiece(lines * length, [&](int32_t first, int32_t end) {
    int64_t line = first / length, j = first % length;
    for (int32_t i = first; i < end; i++) {
      int64_t to = line * lineCodes + j * stepCodes;
      if (to < count) {
        int64_t bit = places.of(j) * bits, word = line * lineWords + bit / wordBits * stepWords;
        int32_t shift = (int32_t)(bit % wordBits);
        uint64_t window = readWord(packed, word, wordBytes);
        if (shift + bits > wordBits) window |= readWord(packed, word + stepWords, wordBytes) << wordBits;
        codes[to] = (uint8_t)((window >> shift) & mask);
      }
      if (++j == length) {
        j = 0;
        line++;
      }
    }
  });
}

}  // namespace LOWBIT_ISA
