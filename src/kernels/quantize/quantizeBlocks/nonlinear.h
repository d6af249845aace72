#pragma once
#include "superBlocks.h"

/* IQ4_NL and IQ4_XS: sixteen levels, closer together around 0. */

namespace LOWBIT_ISA {

constexpr float levels16[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* The place of the level nearest to x, the higher one in the middle. */
INLINE i32v nearestLevel(f32v x) {
  i32v place = {};
  for (int i = 0; i < 15; i++) place -= (i32v)(x + x >= levels16[i] + levels16[i + 1]);
  return place;
}

/* The scale of w = scale · level. */
INLINE f32v fitLevels(const f32v* x, const f32v* w) {
  Largest<32, f32v> largest(x);
  f32v scale = {}, best = {};
  for (int side = -8; side <= 7; side++) {
    /* First the scale that puts the largest at −127 · −1, then those around it. */
    f32v inverse = side == -8 ? 1.0f / (-largest.value / levels16[0]) : ((float)side + levels16[0]) / largest.value;
    Sums<f32v> sums;
    for (int i = 0; i < 32; i++) {
      f32v level = tableValues(levels16, (u32v)nearestLevel(inverse * x[i]));
      sums.xq += w[i] * level * x[i];
      sums.qq += w[i] * level * level;
    }
    auto better = (sums.qq > 0) & (sums.xq * sums.xq > best * sums.qq);
    if (side == -8) better = sums.qq > 0;
    scale = better ? sums.xq / sums.qq : scale;
    best = better ? scale * sums.xq : best;
  }
  return largest.magnitude < leastMagnitude ? f32v{} : scale;
}

INLINE void levelCodes(const Groups<32>& groups, f32v scale, uint8_t* to) {
  f32v inverse = inverseOf(scale), codes[32];
  for (int i = 0; i < 32; i++) codes[i] = convert(nearestLevel(inverse * groups.x[i]));
  groups.codesTo(to, codes);
}

INLINE void levelWeights(const Groups<32>& groups, const float* importance, f32v variance, f32v* w) {
  if (importance) {
    Groups<32> given(importance, groups.count);
    for (int i = 0; i < 32; i++) w[i] = given.x[i] * sqrt(variance + groups.x[i] * groups.x[i]);
  } else {
    for (int i = 0; i < 32; i++) w[i] = groups.x[i] * groups.x[i];
  }
}

INLINE void levelBlocks(const float* x, const float* importance, int32_t count, BlockParts to) {
  Groups<32> groups(x, count);
  f32v w[32], variance = {};
  for (int i = 0; i < 32; i++) variance += groups.x[i] * groups.x[i];
  levelWeights(groups, importance, variance * (2.0f / 32), w);
  f32v d = fitLevels(groups.x, w);
  levelCodes(groups, d, to.codes);
  halvesTo(to.scale, d, groups.count);
}

/* s = scale code − 32. */
INLINE void levelSuperBlock(const float* x, const float* importance, BlockParts to) {
  float scale[8];
  f32v variance = splat(squareSum(x, 256) * (2.0f / 256));
  for (int first = 0; first < 8; first += LANES) {
    Groups<32> groups(x + first * 32, 8 - first);
    f32v w[32];
    levelWeights(groups, importance ? importance + first * 32 : nullptr, variance, w);
    f32v found = fitLevels(groups.x, w);
    for (int32_t lane = 0; lane < groups.count; lane++) scale[first + lane] = found[lane];
  }
  float d = -Largest<8, float>(scale).value / 32, inverse = d != 0 ? 1 / d : 0;
  half(to.scale, d);
  for (int first = 0; first < 8; first += LANES) {
    Groups<32> groups(x + first * 32, 8 - first);
    f32v whole = {};
    for (int32_t lane = 0; lane < groups.count; lane++) {
      float code = clamp(nearest(inverse * scale[first + lane]), -32, 31);
      to.scaleCodes[first + lane] = (uint8_t)((int32_t)code + 32);
      whole[lane] = d * code;
    }
    levelCodes(groups, whole, to.codes + first * 32);
  }
}

}  // namespace LOWBIT_ISA
