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

}  // namespace LOWBIT_ISA
