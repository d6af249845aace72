#include "simd.h"

namespace LOWBIT_ISA {

void addToCodes(const uint8_t* codes, uint8_t* y, int32_t bits, int32_t add, int32_t run, int32_t rows,
                int32_t cols) {
  const int32_t mask = (1 << bits) - 1;
  eachPiece(rows, [&](int32_t first, int32_t end) {
    for (int32_t row = first; row < end; row++) {
      const uint8_t* from = codes + (int64_t)row * cols;
      uint8_t* to = y + (int64_t)row * cols;
      int32_t carry = 0;
      for (int32_t col = 0, left = 0; col < cols; col++, left--) {
        if (left == 0) {
          left = run;
          carry = 0;
        }
        int32_t sum = (from[col] & mask) + add + carry;
        carry = sum >> bits;
        to[col] = (uint8_t)(sum & mask);
      }
    }
  });
}

}  // namespace LOWBIT_ISA
