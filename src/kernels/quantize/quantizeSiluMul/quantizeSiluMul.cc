#include "../../elementwise/siluMul/gated.h"
#include "../quantizeRows/rows.h"

namespace LOWBIT_ISA {

void quantizeSiluMul(const float* gate, const float* up, uint8_t* codes, float* scale, float* sum,
                     int32_t rows, int32_t cols, int32_t groupSize, float levels) {
  Int8Rows{codes, scale, sum, rows, cols, groupSize, levels}.write([&](int32_t r) {
    const size_t at = (size_t)r * cols;
    return made([=](int32_t c, int32_t n, float* y) { gated(gate + at + c, up + at + c, n, y); });
  });
}

}  // namespace LOWBIT_ISA
