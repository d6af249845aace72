#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/* src/kernels/layout/pad2d/pad2d.ts */
enum PadMode : int32_t { PAD_ZEROS, PAD_REFLECT, PAD_REPLICATE, PAD_CIRCULAR };

/* The index that position i takes its value from; -1 for zero. */
static inline int32_t paddedIndex(int32_t mode, int32_t i, int32_t size) {
  if (i >= 0 && i < size) return i;
  switch (mode) {
    case PAD_REFLECT: return i < 0 ? -i : 2 * (size - 1) - i;
    case PAD_REPLICATE: return i < 0 ? 0 : size - 1;
    case PAD_CIRCULAR: return i < 0 ? i + size : i - size;
    case PAD_ZEROS: return -1;
    default: __builtin_trap();
  }
}

/* visit(plane, row of the padded image, row of the image or -1) for every row; planes are shared out. */
template <class Visit>
static void eachPaddedRow(int32_t mode, int32_t planes, int32_t height, int32_t outHeight, int32_t outWidth,
                          int32_t top, const Visit& visit) {
  /* Some 20 microseconds. */
  int32_t perTask = (int32_t)(20000 / ((double)outHeight * outWidth + 1)) + 1;
  parallelFor((planes + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t p = task * perTask; p < planes && p < (task + 1) * perTask; p++) {
      for (int32_t r = 0; r < outHeight; r++) visit(p, r, paddedIndex(mode, r - top, height));
    }
  });
}

}  // namespace LOWBIT_ISA
