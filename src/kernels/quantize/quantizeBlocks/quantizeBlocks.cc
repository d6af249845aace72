#include "../../reduce/reduce/row.h"
#include "nonlinear.h"

namespace LOWBIT_ISA {

/* Columns that are turned into floats at a time, whole blocks. */
constexpr int32_t stretch = 32 * LANES < 256 ? 256 : 32 * LANES;

/* The block of 256 columns at x, of ggml's type. */
OUTLINE void superBlock(int32_t type, const float* x, const float* importance, BlockParts to) {
  constexpr Search given = {-0.9f, 0.05f, 36, false, true};
  switch (type) {
    case 10:
      return affineSuperBlock<16>(x, importance, 3, 15,
                                  importance ? given : Search{-0.5f, 0.1f, 15, true, false}, to);
    case 11: return superBlock3(x, importance, to);
    case 12:
      return affineSuperBlock<32>(x, importance, 15, 63,
                                  importance ? given : Search{-1, 0.1f, 20, false, false}, to);
    case 13:
      return affineSuperBlock<32>(x, importance, 31, 63,
                                  importance ? given : Search{-0.5f, 0.1f, 15, false, false}, to);
    case 14: return superBlock6(x, importance, to);
    case 23: return levelSuperBlock(x, importance, to);
    case 34: case 35: return ternarySuperBlock(x, to);
    default: __builtin_trap();
  }
}

/* Up to LANES blocks of 32 columns at x, of ggml's type. */
OUTLINE void blocks(int32_t type, const float* x, const float* importance, float variance, int32_t count,
                    BlockParts to) {
  switch (type) {
    case 2: return symmetricBlocks(x, importance, 8, variance, count, to);
    case 3: return affineBlocks(x, importance, 15, variance, count, to);
    case 6: return symmetricBlocks(x, importance, 16, variance, count, to);
    case 7: return affineBlocks(x, importance, 31, variance, count, to);
    case 8: return byteBlocks(x, count, to);
    case 20: return levelBlocks(x, importance, count, to);
    case 39: return microBlocks(x, count, to);
    default: __builtin_trap();
  }
}

/* Columns of a group of a super-block, whose scale is a code; 0 for blocks of 32. */
INLINE int32_t groupOf(int32_t type) {
  switch (type) {
    case 10: case 11: case 14: return 16;
    case 12: case 13: case 23: return 32;
    case 34: case 35: return 256;
    default: return 0;
  }
}

void quantizeBlocks(const void* x, int32_t dtype, const float* importance, int32_t type, uint8_t* codes,
                    uint8_t* scale, uint8_t* shift, uint8_t* scaleCodes, uint8_t* shiftCodes, int32_t rows,
                    int32_t cols) {
  int32_t group = groupOf(type), block = group ? 256 : 32, scaleBytes = type == 39 ? 1 : 2;
  withWeightFloat(dtype, [&](auto constant) {
    constexpr int xType = decltype(constant)::value;
    /* Each value is looked at some hundred times. */
    eachRow(rows, cols * 64, [&](int32_t r) {
      float values[stretch], sum = 0;
      auto read = [&](int32_t c, int32_t n) {
        for (int32_t i = 0; i < n; i += LANES)
          store(values + i, loadFloat<xType>(x, (size_t)r * cols + c + i));
      };
      for (int32_t c = 0; importance && !group && c < cols; c += 32) {
        read(c, 32);
        for (int i = 0; i < 32; i++) sum += values[i] * values[i];
      }
      int32_t step = group ? 256 : 32 * LANES;
      for (int32_t c = 0; c < cols; c += step) {
        int32_t n = cols - c < step ? cols - c : step;
        read(c, n);
        size_t first = (size_t)r * cols + c, at = first / block * scaleBytes, codeAt = group ? first / group : 0;
        auto from = [](uint8_t* to, size_t at) { return to ? to + at : nullptr; };
        BlockParts to = {codes + first, scale + at, from(shift, at), from(scaleCodes, codeAt),
                         from(shiftCodes, codeAt)};
        const float* weights = importance ? importance + c : nullptr;
        if (group) superBlock(type, values, weights, to);
        else blocks(type, values, weights, sum / cols, n / 32, to);
      }
    });
  });
}

}  // namespace LOWBIT_ISA
