#include "../unpackBlocks/field.h"

namespace LOWBIT_ISA {

static void unpackDigits(const BlockField& f, const uint8_t* from, uint8_t* to) {
  uint32_t power = 1;
  for (int32_t i = 0; i < f.shift; i++) power *= 3;
  for (int32_t l = 0; l < f.count; l++) to[l * f.step] = (uint8_t)(((from[l] * power & 255) * 3) >> 8);
}

static void unpackBits(const BlockField& f, const uint8_t* from, uint8_t* to) {
  const uint64_t mask = ((1u << f.bits) - 1) * EACH_BYTE;
  int32_t l = 0;
  /* Eight bytes at a time: the mask takes what a shift brings over from the next. */
  if (f.step == 1 && f.from == 0) {
    for (; l + 8 <= f.count; l += 8) storeAs(to + l, loadAs<uint64_t>(from + l) >> f.shift & mask);
  } else if (f.step == 1) {
    for (; l + 8 <= f.count; l += 8)
      storeAs(to + l, loadAs<uint64_t>(to + l) | (loadAs<uint64_t>(from + l) >> f.shift & mask) << f.from);
  }
  for (; l < f.count; l++) {
    uint8_t& value = to[l * f.step];
    uint8_t bits = (uint8_t)((from[l] >> f.shift & (uint8_t)mask) << f.from);
    value = f.from == 0 ? bits : value | bits;
  }
}

void unpackBlocks(const uint8_t* blocks, const int32_t* fields, int32_t fieldCount, uint8_t* values,
                  int32_t count, int32_t blockBytes, int32_t blockValues) {
  eachBlock(count, blockValues, [&](size_t b) {
    for (int32_t i = 0; i < fieldCount; i++) {
      const BlockField& f = ((const BlockField*)fields)[i];
      const uint8_t* from = blocks + b * blockBytes + f.at;
      uint8_t* to = values + b * blockValues + f.first;
      if (f.bits) unpackBits(f, from, to);
      else unpackDigits(f, from, to);
    }
  });
}

}  // namespace LOWBIT_ISA
