#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * Values in units of their scale, the codes they are rounded to, and those within their range; the zero point
 * is taken from all.
 */
struct FakeCodes {
  f32v units, codes, clamped;
};

/* How a row is quantized. */
struct FakeRow {
  float scale, low, high;

  FakeRow(float scale, int32_t zeroPoint, int32_t qmin, int32_t qmax)
      : scale(scale), low((float)(qmin - zeroPoint)), high((float)(qmax - zeroPoint)) {}

  FakeCodes codesOf(f32v x) const {
    f32v units = scale == 0 ? f32v{} : x / scale;
    /* + 0: there is no code -0. */
    f32v codes = roundHalfEven(units) + 0.0f;
    return {units, codes, min(splat(high), max(splat(low), codes))};
  }
};

}  // namespace LOWBIT_ISA
