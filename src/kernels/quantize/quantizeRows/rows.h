#pragma once
#include "group.h"

namespace LOWBIT_ISA {

/* Up to so wide are groups that are taken LANES at a time. */
constexpr int32_t narrowGroup = 256;

/* What quantizeRows writes, and how rows are cut into groups. */
struct Int8Rows {
  uint8_t* codes;
  float *scale, *sum;
  int32_t rows, cols, groupSize;
  float levels;

  /*
   * Writes each row; startRow(r) gives what is asked for its columns: values(c, n) for n values from column c
   * on, of a group or of LANES groups, which are there until the next are asked for.
   */
  template <class StartRow> void write(StartRow startRow) const {
    const int32_t groups = (cols + groupSize - 1) / groupSize;
    const size_t stride = ((size_t)cols + 63) / 64 * 64;
    const bool together = groupSize % LANES == 0 && groupSize <= narrowGroup && levels <= 127;
    eachRow(rows, cols, [&](int32_t r) {
      uint8_t* to = codes + r * stride;
      auto values = startRow(r);
      for (int32_t g = 0, c = 0; g < groups; c = g * groupSize) {
        const size_t at = (size_t)r * groups + g;
        if (together && groups - g >= LANES && cols - c >= LANES * groupSize) {
          quantizeGroups(values(c, LANES * groupSize), groupSize, levels, to + c, scale + at, sum + at);
          g += LANES;
        } else {
          const int32_t n = cols - c < groupSize ? cols - c : groupSize;
          sum[at] = (float)quantizeGroup(values(c, n), n, levels, to + c, scale[at]);
          g++;
        }
      }
      __builtin_memset(to + cols, 0, stride - cols);
    });
  }
};

/* A row of values that fill(c, n, to) makes as they are asked for; groups are at most narrowGroup wide. */
template <class Fill> INLINE auto made(Fill fill) {
  struct Values {
    alignas(64) float of[LANES * narrowGroup];
  };
  float* values = scratchHere<Values>().of;
  return [=](int32_t c, int32_t n) {
    fill(c, n, values);
    return (const float*)values;
  };
}

}  // namespace LOWBIT_ISA
