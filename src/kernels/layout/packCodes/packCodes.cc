#include "../unpackCodes/codes.h"
#include "../../quantize/quantize/codes.h"

namespace LOWBIT_ISA {

void packCodes(const uint8_t* codes, uint8_t* packed, const uint8_t* order, int32_t bits, int32_t wordBytes,
               int32_t lines, int32_t length, int32_t lineWords, int32_t stepWords, int32_t lineCodes,
               int32_t stepCodes, int32_t count) {
  const int32_t wordBits = 8 * wordBytes, perWord = wordBits / bits;
  const int64_t words = ((int64_t)length * bits + wordBits - 1) / wordBits;
  const uint32_t mask = (1u << bits) - 1;
  /* Bytes side by side whose codes lie far apart, as quanto's: rows of codes, one over the other. */
  if (wordBytes == 1 && lineWords == 1 && lineCodes == 1 && length * bits == 8) {
    return eachPiece(lines, [&](int32_t first, int32_t end) {
      __builtin_memset(packed + first, 0, end - first);
      for (int32_t place = 0; place < length; place++) {
        int64_t offset = (int64_t)(order ? order[place] : place) * stepCodes;
        int32_t last = count - offset < end ? (int32_t)(count - offset) : end;
        int32_t i = first;
        for (; i <= last - 4 * LANES; i += 4 * LANES) {
          u32v placed = (loadAs<u32v>(codes + offset + i) & mask * 0x01010101u) << place * bits;
          storeAs(packed + i, loadAs<u32v>(packed + i) | placed);
        }
        for (; i < last; i++) packed[i] |= (uint8_t)((codes[offset + i] & mask) << place * bits);
      }
    });
  }
  if (fillsWords(order, bits, wordBytes, lines, length, lineCodes, stepCodes, count)) {
    return parallelFor((lines + WORD_LINES - 1) / WORD_LINES, [&](int32_t task) {
      const int32_t first = task * WORD_LINES, end = first + WORD_LINES < lines ? first + WORD_LINES : lines;
      for (int32_t w = 0; w < words; w++)
        for (int32_t line = first; line < end; line++) {
          uint32_t word = gatherWord(codes + (int64_t)line * lineCodes + (int64_t)w * perWord, bits);
          __builtin_memcpy(packed + 4 * ((int64_t)line * lineWords + (int64_t)w * stepWords), &word, 4);
        }
    });
  }
  if (crossesWords(bits, wordBytes, lines, length, lineCodes, stepCodes, count)) {
    return eachTurned(lines, (int32_t)words, [&](int32_t line, int32_t across, int32_t w, int32_t down) {
      uint32_t turned[TURNED_WORDS][TURNED_LINES] = {};
      for (int32_t i = 0; i < down; i++)
        for (int32_t place = 0; place < perWord; place++) {
          const int64_t row = (int64_t)(w + i) * perWord + (order ? order[place] : place);
          const uint8_t* from = codes + row * stepCodes + line;
          int32_t j = 0;
          for (; j <= across - LANES; j += LANES) {
            u32v code = (u32v)widenBytes(loadAs<u8v>(from + j)) & mask;
            storeAs(turned[i] + j, loadAs<u32v>(turned[i] + j) | code << place * bits);
          }
          for (; j < across; j++) turned[i][j] |= (from[j] & mask) << place * bits;
        }
      for (int32_t j = 0; j < across; j++)
        for (int32_t i = 0; i < down; i++) {
          const int64_t to = (int64_t)(line + j) * lineWords + (int64_t)(w + i) * stepWords;
          __builtin_memcpy(packed + 4 * to, &turned[i][j], 4);
        }
    });
  }
  eachPiece((int32_t)(lines * words), [&](int32_t first, int32_t end) {
    for (int32_t i = first; i < end; i++) {
      int64_t line = i / words, w = i % words;
      uint64_t word = 0;
      /* Places of codes that lie in the word, whole or in part. */
      for (int64_t p = w * wordBits / bits; p * bits < (w + 1) * wordBits; p++) {
        int64_t j = order ? p - p % perWord + order[p % perWord] : p;
        int64_t from = line * lineCodes + j * stepCodes;
        if (j >= length || from >= count) continue;
        int64_t shift = p * bits - w * wordBits;
        uint64_t code = codes[from] & mask;
        word |= shift < 0 ? code >> -shift : code << shift;
      }
      uint8_t* to = packed + (line * lineWords + w * stepWords) * wordBytes;
      for (int32_t b = 0; b < wordBytes; b++) to[b] = (uint8_t)(word >> 8 * b);
    }
  });
}

}  // namespace LOWBIT_ISA
