#pragma once
#include "../../quantize/quantize/round.h"
#include "simd.h"

/* How groups' scales are chosen and weights are rounded by them, LANES rows at a time. */

namespace LOWBIT_ISA {

enum GroupRule { GRID_ABSMAX, GRID_SYMMETRIC, GRID_ZERO_POINT, GRID_SHIFT };

struct GroupChoice {
  int32_t rule, steps;
  float qmin, qmax, shrink;
};

/* Scales, and zero points or shifts, of LANES rows. */
struct GroupGrid {
  f32v scale, offset;
};

INLINE f32v gridCode(f32v w, const GroupGrid& grid, const GroupChoice& choice) {
  bool shifted = choice.rule == GRID_SHIFT;
  f32v units = roundHalfEven((shifted ? w + grid.offset : w) / grid.scale);
  f32v code = min(max(shifted ? units : units + grid.offset, splat(choice.qmin)), splat(choice.qmax));
  /* A scale of 0, and what is not a number. */
  return select(code == code, code, splat(choice.qmin));
}

INLINE f32v gridValue(f32v code, const GroupGrid& grid, const GroupChoice& choice) {
  return choice.rule == GRID_SHIFT ? grid.scale * code - grid.offset : grid.scale * (code - grid.offset);
}

/* The grid of a range; `other` has the zero point on the other side of the range's. */
template <int dtype>
INLINE GroupGrid rangeGrid(f32v least, f32v most, const GroupChoice& choice, GroupGrid& other) {
  f32v levels = splat(choice.qmax - choice.qmin), width = (most - least) / levels;
  if (choice.rule == GRID_SHIFT) return other = {roundTo<dtype>(width), roundTo<dtype>(-least)};
  f32v scale = roundTo<dtype>(max(width, splat(dtype == FLOAT16 ? 0x1p-14f : 0x1p-126f)));
  if (choice.rule == GRID_ABSMAX) return other = {scale, f32v{}};
  if (choice.rule == GRID_SYMMETRIC) {
    float middle = (float)(((int32_t)choice.qmin + (int32_t)choice.qmax + 1) >> 1);
    return other = {scale, splat(middle)};
  }
  f32v ideal = -least / width, nearer = roundHalfEven(ideal), one = splat(1.0f);
  auto zero = [&](f32v z) { return splat(choice.qmin) + min(max(z, f32v{}), levels); };
  other = {scale, zero(select(nearer > ideal, nearer - one, nearer + one))};
  return {scale, zero(nearer)};
}

/* The grid of a group: weight(j) are its weights of LANES rows, importance(j) is what their errors weigh. */
template <int dtype, class Weight, class Importance>
INLINE GroupGrid chooseGrid(int32_t count, const GroupChoice& choice, const Weight& weight,
                            const Importance& importance) {
  bool shifted = choice.rule == GRID_SHIFT;
  f32v least = shifted ? weight(0) : f32v{}, most = least, one = splat(1.0f);
  for (int32_t j = 0; j < count; j++) {
    f32v w = weight(j);
    least = min(w, least), most = max(w, most);
  }
  if (choice.rule == GRID_ABSMAX || choice.rule == GRID_SYMMETRIC) {
    most = max(-least, most);
    bool mirrored = choice.rule == GRID_ABSMAX || choice.steps > 0;
    least = mirrored ? -most : select(least < 0, -most, least);
  }
  if (!shifted) {
    i32v none = (least == 0) & (most == 0);
    least = select(none, -one, least), most = select(none, one, most);
  }
  GroupGrid other, grid = rangeGrid<dtype>(least, most, choice, other);
  if (choice.steps == 0) return grid;
  f32v lowest = splat(__builtin_inff());
  GroupGrid best = grid;
  auto compare = [&](const GroupGrid& candidate) {
    f32v error = {};
    for (int32_t j = 0; j < count; j++) {
      f32v w = weight(j), d = gridValue(gridCode(w, candidate, choice), candidate, choice) - w;
      error = fma(splat(importance(j)) * d, d, error);
    }
    i32v better = error < lowest;
    lowest = select(better, error, lowest);
    best = {select(better, candidate.scale, best.scale), select(better, candidate.offset, best.offset)};
  };
  for (int32_t step = 0; step < choice.steps; step++) {
    f32v p = splat(1 - choice.shrink * ((float)step / (float)choice.steps));
    grid = rangeGrid<dtype>(p * least, p * most, choice, other);
    compare(grid);
    if (choice.rule == GRID_ZERO_POINT) compare(other);
  }
  return best;
}

}  // namespace LOWBIT_ISA
