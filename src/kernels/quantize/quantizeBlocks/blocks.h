#pragma once
#include "fits.h"

/* Blocks of 32 columns, LANES of them at once: one scale each, no scales of scales. */

namespace LOWBIT_ISA {

/* What a kernel call writes of one row. */
struct BlockParts {
  uint8_t *codes, *scale, *shift, *scaleCodes, *shiftCodes;
};

/* The values of some groups of n columns, a lane each; lanes behind the last are 0. */
template <int n> struct Groups {
  f32v x[n];
  int32_t count;

  Groups(const float* from, int32_t groups) : count(groups < LANES ? groups : LANES) {
    for (int i = 0; i < n; i++) {
      x[i] = f32v{};
      for (int32_t lane = 0; lane < count; lane++) x[i][lane] = from[lane * n + i];
    }
  }

  void codesTo(uint8_t* to, const f32v* codes) const {
    for (int i = 0; i < n; i++) {
      i32v whole = convert(codes[i]);
      for (int32_t lane = 0; lane < count; lane++) to[lane * n + i] = (uint8_t)whole[lane];
    }
  }
};

INLINE void halvesTo(uint8_t* to, f32v values, int32_t count) {
  for (int32_t lane = 0; lane < count; lane++)
    storeAs(to + 2 * lane, (uint16_t)fromFloat(values[lane], FLOAT16));
}

/* x, and 0 for what is beyond int32: x86 makes a number of it whose lowest byte is 0. */
INLINE f32v convertible(f32v x) { return abs(x) < 2147483648.0f ? x : f32v{}; }

/* Towards zero. */
INLINE f32v truncated(f32v x) { return convert(convert(convertible(x))); }

/* To the nearest integer, half away from zero. */
INLINE f32v rounded(f32v x) {
  f32v whole = truncated(x), rest = convertible(x) - whole;
  whole = rest >= 0.5f ? whole + 1.0f : whole;
  return rest <= -0.5f ? whole - 1.0f : whole;
}

INLINE f32v inverseOf(f32v d) { return d != 0 ? 1.0f / d : f32v{}; }

/* Weights of squared errors: importance · √(σ² + x²). */
template <int n>
INLINE void weigh(const Groups<n>& groups, const float* importance, float variance, f32v* w) {
  Groups<n> given(importance, groups.count);
  for (int i = 0; i < n; i++) w[i] = given.x[i] * sqrt(variance + groups.x[i] * groups.x[i]);
}

/* Σ x² in the order of the columns. */
INLINE float squareSum(const float* x, int32_t cols) {
  float sum = 0;
  for (int32_t c = 0; c < cols; c++) sum += x[c] * x[c];
  return sum;
}

/* Q4_0, Q5_0: w = d · (q − levels). */
OUTLINE void symmetricBlocks(const float* x, const float* importance, float levels, float variance,
                             int32_t count, BlockParts to) {
  Groups<32> groups(x, count);
  f32v codes[32], d;
  if (importance) {
    f32v w[32];
    weigh(groups, importance, variance, w);
    d = fitSymmetric<32>(groups.x, w, levels, codes);
  } else {
    d = Largest<32, f32v>(groups.x).value / -levels;
    f32v inverse = inverseOf(d);
    for (int i = 0; i < 32; i++)
      codes[i] = min(truncated(groups.x[i] * inverse + (levels + 0.5f)), splat(2 * levels - 1));
  }
  groups.codesTo(to.codes, codes);
  halvesTo(to.scale, d, groups.count);
}

/* Q4_1, Q5_1: w = d · q + m, q 0 … top. */
OUTLINE void affineBlocks(const float* x, const float* importance, float top, float variance, int32_t count,
                          BlockParts to) {
  Groups<32> groups(x, count);
  f32v codes[32], d, shift;
  if (importance) {
    f32v w[32];
    weigh(groups, importance, variance, w);
    Affine<f32v> fit = fitAffine<32>(groups.x, w, top, {-0.9f, 0.05f, 36, false, true}, codes);
    d = fit.scale;
    shift = fit.shift;
  } else {
    f32v least = groups.x[0], most = groups.x[0];
    for (int i = 1; i < 32; i++) {
      least = groups.x[i] < least ? groups.x[i] : least;
      most = groups.x[i] > most ? groups.x[i] : most;
    }
    d = (most - least) / top;
    shift = -least;
    f32v inverse = inverseOf(d);
    for (int i = 0; i < 32; i++)
      codes[i] = min(truncated((groups.x[i] - least) * inverse + 0.5f), splat(top));
  }
  groups.codesTo(to.codes, codes);
  halvesTo(to.scale, d, groups.count);
  halvesTo(to.shift, shift, groups.count);
}

/* Q8_0: w = d · q. */
INLINE void byteBlocks(const float* x, int32_t count, BlockParts to) {
  Groups<32> groups(x, count);
  f32v codes[32], d = Largest<32, f32v>(groups.x).magnitude / 127.0f, inverse = inverseOf(d);
  for (int i = 0; i < 32; i++) codes[i] = rounded(groups.x[i] * inverse);
  groups.codesTo(to.codes, codes);
  halvesTo(to.scale, d, groups.count);
}

/* ⌊log₂ x⌋ of the float32 nearest to log₂ x, which is whole for x just below a power of two, too. */
INLINE int32_t wholeLog2(float x) {
  int32_t scaled = x < 1.17549435e-38f ? 64 : 0;
  x = scaled ? x * 18446744073709551616.0f : x;
  int32_t exponent = (int32_t)(bitsOf(x) >> 23) - 127 + 1 - scaled;
  double rest = 1 - (double)floatOf((bitsOf(x) & 0x7fffffu) | 0x3f800000u) / 2;
  if (rest > 1.0 / 1024) return exponent - 1;
  double log = exponent - (rest + rest * rest / 2 + rest * rest * rest / 3) * 1.4426950408889634;
  return (float)log < (float)exponent ? exponent - 1 : exponent;
}

/* MXFP4: w = 2^(e − 127) · e2m1[q]. */
INLINE void microBlocks(const float* x, int32_t count, BlockParts to) {
  static const float halves[8] = {0, 1, 2, 3, 4, 6, 8, 12};
  Groups<32> groups(x, count);
  f32v largest = Largest<32, f32v>(groups.x).magnitude, d = f32v{};
  for (int32_t lane = 0; lane < groups.count; lane++) {
    int32_t e = largest[lane] > 0 ? wholeLog2(largest[lane]) - 2 + 127 : 0;
    to.scale[lane] = (uint8_t)(e < 0 ? 0 : e);
    d[lane] = e < 2 ? floatOf(e < 1 ? 0x00200000u : 0x00400000u) : floatOf((uint32_t)(e - 1) << 23);
  }
  f32v codes[32];
  for (int i = 0; i < 32; i++) {
    f32v x = groups.x[i], nearestError = abs(x);
    codes[i] = f32v{};
    for (int q = 1; q < 16; q++) {
      float value = q < 8 ? halves[q] : -halves[q - 8];
      f32v error = abs(value * d - x);
      auto less = error < nearestError;
      codes[i] = less ? splat((float)q) : codes[i];
      nearestError = less ? error : nearestError;
    }
  }
  groups.codesTo(to.codes, codes);
}

}  // namespace LOWBIT_ISA
