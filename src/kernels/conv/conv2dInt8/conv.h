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
  const float *xScale, *wScale, *bias;
  Range range;
  Outputs to;
  int32_t inGroup, outGroup;
  /*
   * A quad is four channels of a tap; by rows, four rows of a single channel's kernel; by windows, four
   * neighbours of all that a window sees.
   */
  bool byRows, byWindows;
  int32_t quads, wordsPerRow;

  /* Whether bytes of a word are of the same channel, all of whose phases are there together. */
  bool keepsPhases() const { return byRows || (byWindows && s.kernelHeight * s.kernelWidth > 1); }
};

/* As in layout.ts. */
INLINE bool keepsOrder(int32_t inGroup, int32_t taps) {
  return inGroup > 1 && (taps == 1 || 5 * ceilDivide(inGroup * taps, 4) <= 4 * ceilDivide(inGroup, 4) * taps);
}

/* Where the steps of a panel end that are added up by eights and by twos; all others follow. */
struct StepGroups {
  int32_t eights, twos;
};

/*
 * What a thread has in its scratch, of which call and block: how many steps are listed, and how many of them
 * are grouped; whether the panel is there, with sums of its negative pixels; whether it has none of those.
 */
struct Ready {
  uint64_t call;
  int32_t block, steps;
  StepGroups groups;
  bool filled, codes, lowered;
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

/* How sums of `count` channels from `first` on become values. */
static void describeChannels(const Conv& c, int32_t first, int32_t count, Channel* channels) {
  for (int32_t tile = first / 16; tile * 16 < first + count; tile++) {
    const uint32_t* words = (const uint32_t*)c.w + (size_t)tile * c.wordsPerRow * 16;
    int32_t sums[16];
    for (int v = 0; v < 16 && INT8_OFFSET; v += LANES) {
      i32v sum = {};
      for (int32_t i = 0; i < c.wordsPerRow; i++)
        sum = dotCodes(sum, splat(0x01010101u), loadAs<u32v>(words + i * 16 + v));
      store(sums + v, sum);
    }
    for (int i = 0; i < 16; i++) {
      const int32_t o = tile * 16 + i;
      if (o < first || o >= first + count) continue;
      channels[o - first] = {*c.xScale * c.wScale[o], c.bias ? c.bias[o] : 0,
                             INT8_OFFSET ? -INT8_OFFSET * sums[i] : 0, words + i};
    }
  }
}

/* Whether all values surely fit integers when they are divided by the scale of their codes. */
static bool fitIntegers(const Conv& c) {
  const float mostSum = 4.0f * c.wordsPerRow * 128 * 128;
  float most = 0;
  bool finite = true;
  for (int32_t o = 0; o < c.s.outChannels; o++) {
    const float bias = c.bias ? c.bias[o] : 0;
    const float value = __builtin_fabsf(*c.xScale * c.wScale[o]) * mostSum + __builtin_fabsf(bias);
    most = value > most ? value : most;
    finite &= value <= 3e38f;
  }
  return finite && most * __builtin_fabsf(c.range.inverse) < 2e9f;
}

}  // namespace LOWBIT_ISA
