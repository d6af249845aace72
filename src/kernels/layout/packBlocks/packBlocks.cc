#include "../unpackBlocks/field.h"

namespace LOWBIT_ISA {

static void packField(const BlockField& f, const uint8_t* from, uint8_t* to) {
  const uint64_t mask = ((1u << f.bits) - 1) * EACH_BYTE;
  int32_t l = 0;
  for (; f.step == 1 && l + 8 <= f.count; l += 8) {
    uint64_t bits = (loadAs<uint64_t>(from + l) >> f.from & mask) << f.shift;
    storeAs(to + l, (loadAs<uint64_t>(to + l) & ~(mask << f.shift)) | bits);
  }
  for (; l < f.count; l++) {
    uint32_t bits = (from[l * f.step] >> f.from & (uint8_t)mask) << f.shift;
    to[l] = (uint8_t)((to[l] & ~((uint8_t)mask << f.shift)) | bits);
  }
}

void packBlocks(const uint8_t* values, const int32_t* fields, int32_t fieldCount, uint8_t* blocks,
                int32_t count, int32_t blockBytes, int32_t blockValues) {
  eachBlock(count, blockValues, [&](size_t b) {
    for (int32_t i = 0; i < fieldCount; i++) {
      const BlockField& f = ((const BlockField*)fields)[i];
      packField(f, values + b * blockValues + f.first, blocks + b * blockBytes + f.at);
    }
  });
}

}  // namespace LOWBIT_ISA
