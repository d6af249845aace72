#pragma once
#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* The codes of n values x, |x · inv| <= 127, and their sum. */
static int32_t roundGroup(const float* x, int32_t n, float inv, uint8_t* codes) {
  /* Adding 1.5·2^23 rounds half to even and leaves the integer in the low bits. */
  const f32v shifter = splat(12582912.0f);
  i32v sums = {};
  int32_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    // Exact, and one instruction: adding 1.5 · 2²³ leaves the rounded number in the low bits. Levels above
    // 127 may round to 128.
    i32v code = (i32v)(max(splat(-127.0f), min(splat(127.0f), load(x + i) * inv)) + shifter) - (i32v)shifter;
    storeAs(codes + i, narrowBytes(code));
    sums += code;
  }
  int32_t total = sum(sums);
  for (; i < n; i++) {
    int32_t code = (int32_t)roundHalfEven(x[i] * inv);
    code = code > 127 ? 127 : code < -127 ? -127 : code;
    codes[i] = (uint8_t)code;
    total += code;
  }
  return total;
}

/*
 * The int8 codes and the scale of n values x, and the sum of the codes: scale = max |x| / levels, codes = x ·
 * levels / max |x| rounded. Codes are 0 where that factor is not finite; the scale is NaN where x is not.
 */
static int32_t quantizeGroup(const float* x, int32_t n, float levels, uint8_t* codes, float& scale) {
  float absmax = rowAbsMax(n, [&](int32_t i, int32_t rest) { return loadUpTo(x + i, rest); });
  float inv = levels / absmax;
  scale = absmax < __builtin_inff() ? absmax / levels : __builtin_nanf("");
  if (absmax < __builtin_inff() && inv < __builtin_inff()) return roundGroup(x, n, inv, codes);
  __builtin_memset(codes, 0, n);
  return 0;
}

}  // namespace LOWBIT_ISA
