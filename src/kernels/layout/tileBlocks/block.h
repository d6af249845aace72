#pragma once
#include "../tilePack/word.h"

/* GGUF's blocks of 32 columns, drawn at tileBlocks.ts. */

namespace LOWBIT_ISA {

template <int typeBits, bool withMinimum> struct Block {
  static constexpr int bits = typeBits;
  static constexpr bool minimum = withMinimum;
  static constexpr int codesAt = (minimum ? 4 : 2) + (bits == 5 ? 4 : 0);
  static constexpr int bytes = codesAt + (bits == 8 ? 32 : 16);
  static constexpr int words = bits; /* a row's words of 32 columns */
};

/* body(Block) of ggml's type. */
template <class Body> INLINE void withBlock(int32_t type, Body&& body) {
  switch (type) {
    case 2: return body(Block<4, false>{});
    case 3: return body(Block<4, true>{});
    case 6: return body(Block<5, false>{});
    case 7: return body(Block<5, true>{});
    case 8: return body(Block<8, false>{});
    default: __builtin_trap();
  }
}

constexpr uint32_t LOW_NIBBLES = 0x0f0f0f0f;

}  // namespace LOWBIT_ISA
