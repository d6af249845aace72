#include "../../reduce/reduce/row.h"
#include "group.h"

namespace LOWBIT_ISA {

void quantizeRows(const float* x, uint8_t* codes, float* scale, float* sum, int32_t rows, int32_t cols,
                  int32_t groupSize, float levels) {
  int32_t groups = (cols + groupSize - 1) / groupSize;
  size_t stride = ((size_t)cols + 63) / 64 * 64;
  eachRow(rows, cols, [&](int32_t r) {
    const float* row = x + (size_t)r * cols;
    uint8_t* to = codes + r * stride;
    int32_t g = 0;
    if (groupSize % LANES == 0 && groupSize <= 256 && levels <= 127) {
      for (; (g + LANES) * groupSize <= cols; g += LANES) {
        size_t at = (size_t)r * groups + g;
        quantizeGroups(row + g * groupSize, groupSize, levels, to + g * groupSize, scale + at, sum + at);
      }
    }
    for (; g < groups; g++) {
      int32_t c = g * groupSize, n = cols - c < groupSize ? cols - c : groupSize;
      size_t at = (size_t)r * groups + g;
      sum[at] = (float)quantizeGroup(row + c, n, levels, to + c, scale[at]);
    }
    __builtin_memset(to + cols, 0, stride - cols);
  });
}

}  // namespace LOWBIT_ISA
