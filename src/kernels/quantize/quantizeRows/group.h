#pragma once
#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* The codes of n values x, |x · inv| <= 127, and their sum. */
static int32_t roundGroup(const float* x, int32_t n, float inv, uint8_t* codes) {
  i32v sums = {};
  int32_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    // Levels above 127 may round to 128.
    i32v code = roundToInt(max(splat(-127.0f), min(splat(127.0f), load(x + i) * inv)));
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
OUTLINE int32_t quantizeGroup(const float* x, int32_t n, float levels, uint8_t* codes, float& scale) {
  float absmax = rowAbsMax(n, [&](int32_t i, int32_t rest) { return loadUpTo(x + i, rest); });
  float inv = levels / absmax;
  scale = absmax < __builtin_inff() ? absmax / levels : __builtin_nanf("");
  if (absmax < __builtin_inff() && inv < __builtin_inff()) return roundGroup(x, n, inv, codes);
  __builtin_memset(codes, 0, n);
  return 0;
}

/*
 * The same of LANES groups one behind the other, of n values each, n a multiple of LANES, levels at most 127:
 * what is one number of a group is computed for all of them at once.
 */
OUTLINE void quantizeGroups(const float* x, int32_t n, float levels, uint8_t* codes, float* scale,
                            float* sum) {
  i32v parts[LANES];
  for (int g = 0; g < LANES; g++) {
    i32v most = {};
    for (int32_t i = 0; i < n; i += LANES) most = max(most, (i32v)abs(load(x + g * n + i)));
    parts[g] = most;
  }
  const f32v absmax = (f32v)foldEach(parts, [](i32v a, i32v b) { return max(a, b); });
  const f32v inv = levels / absmax, infinite = splat(__builtin_inff());
  if (any(~((absmax < infinite) & (inv < infinite)))) {
    for (int g = 0; g < LANES; g++)
      sum[g] = (float)quantizeGroup(x + g * n, n, levels, codes + g * n, scale[g]);
    return;
  }
  store(scale, absmax / levels);
  float factors[LANES];
  store(factors, inv);
  for (int g = 0; g < LANES; g++, codes += n) {
    const f32v factor = splat(factors[g]);
    // Nothing exceeds levels by so much that it would round to 128.
    auto code = [&](int32_t i) { return roundToInt(load(x + g * n + i) * factor); };
    i32v total = {};
    int32_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
      const i32v a = code(i), b = code(i + LANES), c = code(i + 2 * LANES), d = code(i + 3 * LANES);
      storeBytes(codes + i, a, b, c, d);
      total += (a + b) + (c + d);
    }
    for (; i < n; i += LANES) {
      const i32v one = code(i);
      storeAs(codes + i, narrowBytes(one));
      total += one;
    }
    parts[g] = total;
  }
  store(sum, convert(foldEach(parts, [](i32v a, i32v b) { return a + b; })));
}

}  // namespace LOWBIT_ISA
