#pragma once
#include "values.h"

/* A convolution as its tasks see it. */

namespace LOWBIT_ISA {

INLINE int32_t roundUp(int32_t a, int32_t b) { return ceilDivide(a, b) * b; }

/* All that a task knows of the whole. */
struct Conv {
  ConvSizes s;
  Layout in, out;
  Line line;
  const uint8_t *x, *xEnd, *w;
  const float *xScale, *wScale, *bias, *yScale;
  uint8_t* y;
  Range range;
  int32_t inGroup, outGroup;
  /* A quad is four channels of a tap, or four rows of a single channel's kernel. */
  bool byRows;
  int32_t quads, wordsPerRow;
};

/*
 * What a thread has in its scratch, of which call and block: how many steps are listed; whether the panel is
 * there, with sums of its negative pixels; whether it has none of those.
 */
struct Ready {
  uint64_t call;
  int32_t block, steps;
  bool filled, codes;
};

/*
 * How many of `count` things a part has, of `parts` or up to twice as many of them: those with which no
 * thread has much more to do than another.
 */
INLINE int32_t evenPart(int32_t count, int32_t parts, int32_t threads) {
  int32_t best = count, least = INT32_MAX;
  for (int32_t n = parts; n <= 2 * parts; n++) {
    const int32_t part = ceilDivide(count, n), longest = ceilDivide(ceilDivide(count, part), threads) * part;
    if (longest < least) best = part, least = longest;
  }
  return best;
}

}  // namespace LOWBIT_ISA
