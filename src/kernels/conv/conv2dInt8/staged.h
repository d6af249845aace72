#pragma once
#include "conv.h"

/*
 * Outputs whose positions in a line are no neighbours in memory: they are computed in scratch, line after
 * line, and placed from there. What is added to them is laid there before.
 */

namespace LOWBIT_ISA {

/* Whether floats are staged: those that are asked for, or added. */
INLINE bool stagesFloats(const Conv& c) { return c.to.y || c.to.addend; }

/* Bytes of a position of a channel. */
INLINE int32_t stagedBytesOf(const Conv& c) { return (stagesFloats(c) ? 4 : 0) + (c.to.codes ? 1 : 0); }

/* So many positions of all channels: codes lie behind floats. */
INLINE Outputs stagedOutputs(const Conv& c, uint8_t* staged, int32_t positions) {
  float* floats = (float*)staged;
  return {c.to.y ? floats : nullptr,
          c.to.codes ? staged + (stagesFloats(c) ? 4 * (size_t)positions : 0) : nullptr,
          c.to.addend ? floats : nullptr};
}

/* body(position, place in the plane, how many) for each row of the output at `count` positions. */
template <class Body> INLINE void eachOutputRow(const Conv& c, int32_t first, int32_t count, Body&& body) {
  int32_t row = first / c.line.width, col = first - row * c.line.width;
  for (int32_t at = 0; at < count; col = 0, row++) {
    const int32_t run = c.line.width - col < count - at ? c.line.width - col : count - at;
    const int32_t used = c.s.outWidth - col < run ? c.s.outWidth - col : run;
    if (used > 0) body(at, row * c.out.row + col, used);
    at += run;
  }
}

/* Rows of the output at `count` positions from `first` on, of so many bytes each, out of those positions. */
static void placeRows(const Conv& c, const uint8_t* from, int32_t first, int32_t count, int32_t bytes,
                      uint8_t* y) {
#if LANES == 16
  if (first % c.line.width == 0 && c.s.outWidth * bytes <= 64) {
    const uint64_t mask = firstBytes(c.s.outWidth * bytes);
    uint8_t* to = y + first / c.line.width * c.out.row * bytes;
    const size_t step = c.out.row * bytes, used = c.line.width * bytes;
    withVector(c.s.outWidth * bytes, [&](auto vector) {
      for (; count >= c.s.outWidth; count -= c.line.width, first += c.line.width, from += used, to += step)
        vector.store(mask, from, to);
    });
  }
#endif
  eachOutputRow(c, first, count, [&](int32_t at, size_t place, int32_t used) {
    placeBytes(from + at * bytes, used * bytes, y + place * bytes);
  });
}

/* Lays what is added to the outputs of a plane at `count` positions from `first` on where they are staged. */
static void stageAddend(const Conv& c, const Outputs& plane, int32_t first, int32_t count,
                        const Outputs& staged) {
  if (!plane.addend) return;
  eachOutputRow(c, first, count, [&](int32_t at, size_t place, int32_t used) {
    __builtin_memcpy((float*)staged.addend + at, plane.addend + place, 4 * used);
  });
}

/* Places the staged outputs of a plane. */
static void placeStaged(const Conv& c, const Outputs& staged, int32_t first, int32_t count,
                        const Outputs& plane) {
  if (plane.y) placeRows(c, (const uint8_t*)staged.y, first, count, 4, (uint8_t*)plane.y);
  if (plane.codes) placeRows(c, staged.codes, first, count, 1, plane.codes);
}

}  // namespace LOWBIT_ISA
