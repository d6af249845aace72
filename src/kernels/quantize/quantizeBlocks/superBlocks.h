#pragma once
#include "blocks.h"

/* Blocks of 256 columns, in groups of n whose scales are codes, too: one block at a time, its groups in lanes. */

namespace LOWBIT_ISA {

/* What is known of a block's groups after their search. */
template <int n> struct SuperBlock {
  static constexpr int groups = 256 / n;
  float scale[groups], shift[groups], weight[groups];
  uint8_t codes[256];
};

/* fit(values, weights, codes) of all groups; weights as weigh(values, first column) makes them. */
template <int n, class Weigh, class Fit>
INLINE void fitGroups(SuperBlock<n>& block, const float* x, Weigh weigh, Fit fit) {
  for (int first = 0; first < block.groups; first += LANES) {
    Groups<n> groups(x + first * n, block.groups - first);
    f32v w[n], codes[n], sum = {};
    weigh(groups, first * n, w);
    for (int i = 0; i < n; i++) sum += w[i];
    Affine<f32v> found = fit(groups.x, w, codes);
    groups.codesTo(block.codes + first * n, codes);
    for (int32_t lane = 0; lane < groups.count; lane++) {
      block.scale[first + lane] = found.scale[lane];
      block.shift[first + lane] = found.shift[lane];
      block.weight[first + lane] = sum[lane];
    }
  }
}

INLINE float half(uint8_t* to, float value) {
  uint32_t pattern = fromFloat(value, FLOAT16);
  storeAs(to, (uint16_t)pattern);
  return toFloat(pattern, FLOAT16);
}

/*
 * The codes nearest to the values with scales and shifts as they are stored; those of a group whose scale is 0
 * stay what the search found.
 */
template <int n>
INLINE void recode(SuperBlock<n>& block, const float* x, int group, float d, float shift, float low, float high) {
  if (d == 0) return;
  uint8_t* codes = block.codes + group * n;
  for (int i = 0; i < n; i += LANES) {
    f32v q = clamp(nearest((load(x + group * n + i) + shift) / d), low, high) - low;
    for (int lane = 0; lane < LANES; lane++) codes[i + lane] = (uint8_t)convert(q)[lane];
  }
}

template <int n> INLINE float largestOf(const float* values) {
  float most = 0;
  for (int i = 0; i < n; i++) most = values[i] > most ? values[i] : most;
  return most;
}

/* Q2_K, Q4_K, Q5_K: w = d · scaleCode · q − dmin · shiftCode, q 0 … levels. */
template <int n>
OUTLINE void affineSuperBlock(const float* x, const float* importance, float levels, int32_t scaleLevels,
                              Search search, BlockParts to) {
  SuperBlock<n> block;
  constexpr int groups = block.groups;
  bool two = scaleLevels == 15;
  float variance = importance ? (two ? 1 : 2) * squareSum(x, 256) / 256 : 0;
  fitGroups(
      block, x,
      [&](const Groups<n>& values, int first, f32v* w) {
        if (importance) return weigh(values, importance + first, variance, w);
        f32v sum = {};
        for (int i = 0; i < n; i++) sum += values.x[i] * values.x[i];
        f32v deviation = two ? f32v{} : sqrt(sum / (float)n);
        for (int i = 0; i < n; i++) w[i] = deviation + abs(values.x[i]);
      },
      [&](const f32v* values, const f32v* w, f32v* codes) {
        return fitAffine<n>(values, w, levels, search, codes);
      });
  float d, dmin;
  if (importance) {
    d = half(to.scale, fitPositive<groups>(block.scale, block.weight, scaleLevels, to.scaleCodes));
    dmin = half(to.shift, fitPositive<groups>(block.shift, block.weight, scaleLevels, to.shiftCodes));
  } else {
    float mostScale = largestOf<groups>(block.scale), mostShift = largestOf<groups>(block.shift);
    float byScale = mostScale > 0 ? scaleLevels / mostScale : 0;
    float byShift = mostShift > 0 ? scaleLevels / mostShift : 0;
    auto code = [&](float value) {
      int32_t byte = (int32_t)nearest(value) & 255;
      return (uint8_t)(byte > scaleLevels ? scaleLevels : byte);
    };
    for (int g = 0; g < groups; g++) {
      to.scaleCodes[g] = code(byScale * block.scale[g]);
      to.shiftCodes[g] = code(byShift * block.shift[g]);
    }
    /* 0 where there is none above it, never −0. */
    d = half(to.scale, mostScale > 0 ? mostScale / scaleLevels : 0);
    dmin = half(to.shift, mostShift > 0 ? mostShift / scaleLevels : 0);
  }
  for (int g = 0; g < groups; g++)
    recode(block, x, g, d * to.scaleCodes[g], dmin * to.shiftCodes[g], 0, levels);
  __builtin_memcpy(to.codes, block.codes, 256);
}

/* Of each group of w = d · s · (q − levels) the codes again with d and s, given as bytes, as they are stored. */
template <int levels>
INLINE void finishSymmetric(SuperBlock<16>& block, const float* x, float d, int32_t zero, BlockParts to) {
  for (int g = 0; g < 16; g++) {
    int32_t s = zero ? to.scaleCodes[g] - zero : (int8_t)to.scaleCodes[g];
    recode(block, x, g, d * s, -0.0f, -levels, levels - 1);
  }
  __builtin_memcpy(to.codes, block.codes, 256);
}

/* Of the largest magnitude, the first of several. */
INLINE float signedLargest(const float* values) { return Largest<16, float>(values).value; }

/* Q3_K: s = scale code − 32, q − 4. */
INLINE void superBlock3(const float* x, const float* importance, BlockParts to) {
  SuperBlock<16> block;
  float variance = importance ? 2 * squareSum(x, 256) / 256 : 0;
  fitGroups(
      block, x,
      [&](const Groups<16>& values, int first, f32v* w) {
        if (importance) weigh(values, importance + first, variance, w);
        else for (int i = 0; i < 16; i++) w[i] = values.x[i] * values.x[i];
      },
      [&](const f32v* values, const f32v* w, f32v* codes) {
        f32v scale = importance ? fitSymmetric<16>(values, w, 4, codes) : fitByCodes<16>(values, 4, codes);
        return Affine<f32v>{scale, f32v{}};
      });
  float codes[16] = {}, d;
  if (importance) {
    d = fitSymmetric<16>(block.scale, block.weight, 32, codes);
  } else {
    float largest = signedLargest(block.scale), inverse = -32 / largest;
    d = largest != 0 ? 1 / inverse : 0;
    for (int g = 0; g < 16 && largest != 0; g++)
      codes[g] = clamp(nearest(inverse * block.scale[g]), -32, 31) + 32;
  }
  for (int g = 0; g < 16; g++) to.scaleCodes[g] = (uint8_t)codes[g];
  finishSymmetric<4>(block, x, half(to.scale, d), 32, to);
}

/* Q6_K: s −128 … 127, int8, q − 32. */
INLINE void superBlock6(const float* x, const float* importance, BlockParts to) {
  SuperBlock<16> block;
  fitGroups(
      block, x,
      [&](const Groups<16>& values, int first, f32v* w) {
        Groups<16> given(importance ? importance + first : x, values.count);
        for (int i = 0; i < 16; i++) w[i] = importance ? given.x[i] : values.x[i] * values.x[i];
      },
      [&](const f32v* values, const f32v* w, f32v* codes) {
        return Affine<f32v>{fitSymmetric<16>(values, w, 32, codes), f32v{}};
      });
  float largest = signedLargest(block.scale);
  if (__builtin_fabsf(largest) < leastMagnitude) {
    __builtin_memset(to.codes, 0, 256);
    __builtin_memset(to.scaleCodes, 0, 16);
    storeAs(to.scale, (uint16_t)0);
    return;
  }
  float inverse = -128 / largest, d = half(to.scale, 1 / inverse);
  for (int g = 0; g < 16; g++)
    to.scaleCodes[g] = (uint8_t)(int32_t)clamp(nearest(inverse * block.scale[g]), -16777216, 127);
  finishSymmetric<32>(block, x, d, 0, to);
}

/* TQ1_0, TQ2_0: w = d · (q − 1). */
INLINE void ternarySuperBlock(const float* x, BlockParts to) {
  f32v largest = {};
  for (int i = 0; i < 256; i += LANES) largest = max(abs(load(x + i)), largest);
  float d = 0;
  for (int lane = 0; lane < LANES; lane++) d = largest[lane] > d ? largest[lane] : d;
  half(to.scale, d);
  float inverse = d != 0 ? 1 / d : 0;
  for (int i = 0; i < 256; i += LANES) {
    i32v q = convert(rounded(load(x + i) * inverse)) + 1;
    for (int lane = 0; lane < LANES; lane++) to.codes[i + lane] = (uint8_t)(q[lane] & 3);
  }
}

}  // namespace LOWBIT_ISA
