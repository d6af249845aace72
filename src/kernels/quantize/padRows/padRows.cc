#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void padRows(const uint8_t* codes, uint8_t* padded, float* sum, int32_t rows, int32_t cols) {
  size_t stride = ((size_t)cols + 63) / 64 * 64;
  eachRow(rows, cols, [&](int32_t r) {
    const int8_t* row = (const int8_t*)codes + (size_t)r * cols;
    int32_t total = 0;
    for (int32_t c = 0; c < cols; c++) total += row[c];
    sum[r] = (float)total;
    __builtin_memcpy(padded + r * stride, row, cols);
    __builtin_memset(padded + r * stride + cols, 0, stride - cols);
  });
}

}  // namespace LOWBIT_ISA
