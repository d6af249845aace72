#include "../unpackBlocks/field.h"

namespace LOWBIT_ISA {

/* Blocks, the values that they are unpacked into, and how far one lies from the next. */
struct BlockRun {
  const uint8_t* blocks;
  uint8_t* values;
  size_t count, blockBytes, blockValues;
};

static void unpackDigits(const BlockField f, BlockRun run) {
  uint32_t power = 1;
  for (int32_t i = 0; i < f.shift; i++) power *= 3;
  for (size_t b = 0; b < run.count; b++, run.blocks += run.blockBytes, run.values += run.blockValues)
    for (int32_t l = 0; l < f.count; l++)
      run.values[f.first + l * f.step] = (uint8_t)(((run.blocks[f.at + l] * power & 255) * 3) >> 8);
}

/*
 * A word at a time, of which the field's count is a multiple: the mask takes what a shift brings from the
 * next byte.
 */
template <class Word> static void unpackWords(const BlockField f, BlockRun run) {
  const Word mask = Word{} + (uint8_t)((1 << f.bits) - 1) * EACH_BYTE;
  for (size_t b = 0; b < run.count; b++, run.blocks += run.blockBytes, run.values += run.blockValues) {
    uint8_t* to = run.values + f.first;
    for (int32_t l = 0; l < f.count; l += sizeof(Word)) {
      Word bits = (loadAs<Word>(run.blocks + f.at + l) >> f.shift & mask) << f.from;
      storeAs(to + l, f.from == 0 ? bits : loadAs<Word>(to + l) | bits);
    }
  }
}

static void unpackBits(const BlockField f, BlockRun run) {
  typedef uint64_t Words __attribute__((vector_size(16)));
  if (f.step == 1 && f.count % 16 == 0) return unpackWords<Words>(f, run);
  if (f.step == 1 && f.count % 8 == 0) return unpackWords<uint64_t>(f, run);
  for (size_t b = 0; b < run.count; b++, run.blocks += run.blockBytes, run.values += run.blockValues) {
    for (int32_t l = 0; l < f.count; l++) {
      uint8_t& value = run.values[f.first + l * f.step];
      uint8_t bits = (uint8_t)((run.blocks[f.at + l] >> f.shift & ((1 << f.bits) - 1)) << f.from);
      value = f.from == 0 ? bits : value | bits;
    }
  }
}

void unpackBlocks(const uint8_t* blocks, const int32_t* fields, int32_t fieldCount, uint8_t* values,
                  int32_t count, int32_t blockBytes, int32_t blockValues) {
  eachBlocks(count, blockValues, [&](size_t first, size_t end) {
    for (int32_t i = 0; i < fieldCount; i++) {
      const BlockField f = ((const BlockField*)fields)[i];
      const BlockRun run = {blocks + first * blockBytes, values + first * blockValues, end - first,
                            (size_t)blockBytes, (size_t)blockValues};
      if (f.bits) unpackBits(f, run);
      else unpackDigits(f, run);
    }
  });
}

}  // namespace LOWBIT_ISA
