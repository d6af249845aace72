#include "../quantize/codes.h"

namespace LOWBIT_ISA {

void nestedScale(const uint8_t* codes, const float* codebook, const float* values, const float* offset,
                 float* y, int32_t count, int32_t blockSize) {
  eachPiece(count, [&](int32_t first, int32_t end) {
    for (int32_t i = first; i < end; i++) y[i] = codebook[codes[i]] * values[i / blockSize] + *offset;
  });
}

}  // namespace LOWBIT_ISA
