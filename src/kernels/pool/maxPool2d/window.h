#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/* One axis of a pool; see window.ts. */
struct PoolAxis {
  int32_t size, outSize, kernel, stride, padding, dilation;

  int32_t start(int32_t i) const {
    return kernel == 0 ? (int32_t)((int64_t)i * size / outSize) : i * stride - padding;
  }
  int32_t end(int32_t i) const {
    if (kernel == 0) return (int32_t)(((int64_t)(i + 1) * size + outSize - 1) / outSize);
    return start(i) + (kernel - 1) * dilation + 1;
  }
};

}  // namespace LOWBIT_ISA
