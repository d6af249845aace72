#pragma once
#include "simd.h"

/* Fields of blocks, described at unpackBlocks.ts. */

namespace LOWBIT_ISA {

struct BlockField {
  int32_t first, step, count, at, shift, bits, from;
};

/* body(first, end) for runs of count blocks; some kilobytes a task. */
template <class Body> INLINE void eachBlocks(int32_t count, int32_t blockValues, Body&& body) {
  int32_t perTask = 16384 / (blockValues + 1) + 1;
  parallelFor(ceilDivide(count, perTask), [&](int32_t task) {
    size_t first = (size_t)task * perTask;
    body(first, first + perTask < (size_t)count ? first + perTask : (size_t)count);
  });
}

/* body(block) for each of count blocks. */
template <class Body> INLINE void eachBlock(int32_t count, int32_t blockValues, Body&& body) {
  eachBlocks(count, blockValues, [&](size_t first, size_t end) {
    for (size_t b = first; b < end; b++) body(b);
  });
}

}  // namespace LOWBIT_ISA
