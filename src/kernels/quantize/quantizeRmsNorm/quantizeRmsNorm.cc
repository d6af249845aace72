#include "../../norm/rmsNorm/normalize.h"
#include "../quantizeRows/rows.h"

namespace LOWBIT_ISA {

void quantizeRmsNorm(const float* x, const void* weight, int32_t weightDtype, float epsilon, uint8_t* codes,
                     float* scale, float* sum, int32_t rows, int32_t cols, int32_t groupSize, float levels) {
  Int8Rows{codes, scale, sum, rows, cols, groupSize, levels}.write([&](int32_t r) {
    const float* row = x + (size_t)r * cols;
    const float rms = rowRms(row, cols, epsilon);
    return made([=](int32_t c, int32_t n, float* y) { normalize(row, rms, weight, weightDtype, c, n, y); });
  });
}

}  // namespace LOWBIT_ISA
