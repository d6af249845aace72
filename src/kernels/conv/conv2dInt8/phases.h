#pragma once
#include "conv.h"

/* Words whose bytes are of one channel, or of two: all phases of a channel are there together. */

namespace LOWBIT_ISA {

/* Where a byte of words begins, in which phase of its channel. */
struct ByteLine {
  int32_t at, phase;
};

/* Bytes of a phase of a line for so many positions. */
INLINE int32_t phaseBytes(const Line& l, int32_t count) {
  return roundUp(count + l.reach, LINE_STEP) + LINE_STEP;
}

/* All phases of a single channel at `count` positions from `first` on. */
static void fillPhases(const Conv& c, int32_t sample, int32_t channel, int32_t first, int32_t count,
                       uint8_t* lines) {
  const Line& l = c.line;
  const uint8_t* plane = c.x + sample * c.in.sample + channel * c.in.plane;
  for (int32_t a = 0; a < l.rowPhases; a++) {
    for (int32_t b = 0; b < l.colPhases; b++, lines += phaseBytes(l, count))
      fillLine(plane, c.in, c.s, l, a, b, first, count + l.reach, lines);
  }
}

/* By rows: the bytes of the words of each column's phase, which are rows of the kernel. */
static void listRows(const Conv& c, int32_t quads, ByteLine* bytes) {
  const Line& l = c.line;
  for (int32_t i = 0; i < quads * l.colPhases * 4; i++) {
    const int32_t row = i / 4 / l.colPhases * 4 + i % 4;
    const int32_t down = row < c.s.kernelHeight ? row * c.s.dilationHeight : 0, stride = c.s.strideHeight;
    bytes[i] = {down / stride * l.width, down % stride * l.colPhases + i / 4 % l.colPhases};
  }
}

/* By windows: the bytes of quads q … q + quads − 1, which are taps. */
static void listTaps(const Conv& c, int32_t q, int32_t quads, ByteLine* bytes) {
  const ConvSizes& s = c.s;
  for (int32_t i = 0; i < 4 * quads; i++) {
    const int32_t tap = (4 * q + i) % (s.kernelHeight * s.kernelWidth);
    const int32_t down = tap / s.kernelWidth * s.dilationHeight;
    const int32_t across = tap % s.kernelWidth * s.dilationWidth;
    bytes[i] = {down / s.strideHeight * c.line.width + across / s.strideWidth,
                down % s.strideHeight * c.line.colPhases + across % s.strideWidth};
  }
}

/*
 * The panel of quads q … q + quads − 1 at `count` positions from `first` on, by windows, of the channels from
 * `channel` on. Two of them have room for `room` bytes each in `lines`: no word has bytes of three. Returns
 * what `interleave` does.
 */
static bool fillWindows(const Conv& c, int32_t sample, int32_t channel, int32_t q, int32_t quads,
                        int32_t first, int32_t count, uint8_t* lines, int32_t room, const ByteLine* bytes,
                        uint32_t* panel) {
  const int32_t taps = c.s.kernelHeight * c.s.kernelWidth, inPhase = phaseBytes(c.line, count);
  int32_t member = 4 * q / taps, tap = 4 * q % taps, filled = member - 1;
  bool codes = true;
  for (int32_t i = 0; i < quads; i++, panel += TILE_PIXELS) {
    const uint8_t* quad[4];
    for (int32_t j = 0; j < 4; j++, bytes++) {
      if (member >= c.inGroup) {
        quad[j] = quad[0];
        continue;
      }
      uint8_t* phases = lines + member % 2 * room;
      if (filled < member) fillPhases(c, sample, channel + member, first, count, phases);
      filled = member;
      quad[j] = phases + bytes->phase * inPhase + bytes->at;
      if (++tap == taps) member++, tap = 0;
    }
    codes &= interleave(quad, count, lines + 2 * room, (size_t)quads * TILE_PIXELS, panel);
  }
  return codes;
}

}  // namespace LOWBIT_ISA
