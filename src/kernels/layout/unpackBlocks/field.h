#pragma once
#include "simd.h"

/* Fields of blocks, described at unpackBlocks.ts. */

namespace LOWBIT_ISA {

struct BlockField {
  int32_t first, step, count, at, shift, bits, from;
};

constexpr uint64_t EACH_BYTE = 0x0101010101010101;

/* body(block) for each of count blocks; some kilobytes a task. */
template <class Body> INLINE void eachBlock(int32_t count, int32_t blockValues, Body&& body) {
  int32_t perTask = 16384 / (blockValues + 1) + 1;
  parallelFor((count + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t b = task * perTask; b < (task + 1) * perTask && b < count; b++) body((size_t)b);
  });
}

}  // namespace LOWBIT_ISA
