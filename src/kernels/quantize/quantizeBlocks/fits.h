#pragma once
#include "simd.h"

/*
 * Searches for the scale of a group of n values, of LANES groups at once: F is f32v, whose lanes are groups, or
 * float. Sums run in the order of the columns, each operation rounded to float32; codes are whole numbers held
 * as floats. The formulas are at fits.ts.
 */

namespace LOWBIT_ISA {

/* The nearest integer, half to even; see `nearest` of fits.ts. */
INLINE f32v nearest(f32v x) {
  return convert((i32v)(bitsOf(x + 12582912.0f) & 0x7fffffu) - 0x400000);
}
INLINE float nearest(float x) {
  return (float)((int32_t)(bitsOf(x + 12582912.0f) & 0x7fffffu) - 0x400000);
}

INLINE float abs(float x) { return __builtin_fabsf(x); }
template <class F> INLINE F clamp(F x, float low, float high) {
  F raised = x < low ? F{} + low : x;
  return raised > high ? F{} + high : raised;
}

/* What is below counts as no value at all. */
constexpr float leastMagnitude = 1e-15f;

/* The value of the largest magnitude, the first of several. */
template <int n, class F> struct Largest {
  F magnitude = {}, value = {};
  explicit Largest(const F* x) {
    for (int i = 0; i < n; i++) {
      F each = abs(x[i]);
      auto more = each > magnitude;
      magnitude = more ? each : magnitude;
      value = more ? x[i] : value;
    }
  }
};

/* Σ w·x·q and Σ w·q². */
template <class F> struct Sums {
  F xq = {}, qq = {};
  void add(F w, F x, F q) {
    xq += w * x * q;
    qq += w * q * q;
  }
};

/* codes[i] = q + levels, the scale returned. */
template <int n, class F> INLINE F fitSymmetric(const F* x, const F* w, float levels, F* codes) {
  Largest<n, F> largest(x);
  F scale = {}, best = {}, trial[n];
  for (int step = 0; step <= 18; step++) {
    /* First the scale that puts the largest at −levels, then those around it. */
    int side = step == 0 ? 0 : step <= 9 ? step - 10 : step - 9;
    F inverse = -(levels + 0.1f * side) / largest.value;
    Sums<F> sums;
    for (int i = 0; i < n; i++) {
      F q = clamp(nearest(inverse * x[i]), -levels, levels - 1);
      trial[i] = q + levels;
      sums.add(w[i], x[i], q);
    }
    if (step == 0) {
      scale = sums.qq != 0 ? sums.xq / sums.qq : F{};
      best = scale * sums.xq;
      for (int i = 0; i < n; i++) codes[i] = trial[i];
      continue;
    }
    auto better = (sums.qq > 0) & (sums.xq * sums.xq > best * sums.qq);
    for (int i = 0; i < n; i++) codes[i] = better ? trial[i] : codes[i];
    scale = better ? sums.xq / sums.qq : scale;
    best = better ? scale * sums.xq : best;
  }
  auto none = largest.magnitude < leastMagnitude;
  for (int i = 0; i < n; i++) codes[i] = none ? F{} : codes[i];
  return none ? F{} : scale;
}

/* As fitSymmetric with w = x², moving one code at a time. */
template <int n, class F> INLINE F fitByCodes(const F* x, float levels, F* codes) {
  Largest<n, F> largest(x);
  F inverse = -levels / largest.value, q[n];
  Sums<F> sums;
  for (int i = 0; i < n; i++) {
    q[i] = clamp(nearest(inverse * x[i]), -levels, levels - 1);
    sums.add(x[i] * x[i], x[i], q[i]);
  }
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < n; i++) {
      F w = x[i] * x[i];
      F xq = sums.xq - w * x[i] * q[i], qq = sums.qq - w * q[i] * q[i];
      F next = clamp(nearest(x[i] * qq / xq), -levels, levels - 1);
      auto moves = (xq > 0) & (next != q[i]);
      xq += w * x[i] * next;
      qq += w * next * next;
      auto better = moves & (qq > 0) & (xq * xq * sums.qq > sums.xq * sums.xq * qq);
      q[i] = better ? next : q[i];
      sums.xq = better ? xq : sums.xq;
      sums.qq = better ? qq : sums.qq;
    }
  }
  auto none = largest.magnitude < leastMagnitude;
  for (int i = 0; i < n; i++) codes[i] = none ? F{} : q[i] + levels;
  F scale = sums.qq > 0 ? sums.xq / sums.qq : F{};
  return none ? F{} : scale;
}

/* Where fitAffine searches; see fits.ts. */
struct Search {
  float low, step;
  int steps;
  bool absolute, bounded;
};

/* x ≈ scale · q − shift */
template <class F> struct Affine {
  F scale, shift;
};

template <int n, class F>
INLINE Affine<F> fitAffine(const F* x, const F* w, float levels, Search search, F* codes) {
  F least = x[0], most = x[0], sumW = w[0], sumX = w[0] * x[0];
  for (int i = 1; i < n; i++) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
    sumW += w[i];
    sumX += w[i] * x[i];
  }
  least = least > 0 ? F{} : least;
  auto flat = most <= least;
  F flatShift = -least, trial[n];
  F inverse = levels / (most - least), scale = 1.0f / inverse;
  auto errorOf = [&](const F* q, F s, F m) {
    F sum = {};
    for (int i = 0; i < n; i++) {
      F difference = s * q[i] + m - x[i];
      sum += w[i] * (search.absolute ? abs(difference) : difference * difference);
    }
    return sum;
  };
  for (int i = 0; i < n; i++) codes[i] = clamp(nearest(inverse * (x[i] - least)), 0, levels);
  F error = errorOf(codes, scale, least);
  for (int step = 0; step <= search.steps; step++) {
    /* From the minimum of the best fit so far on, as ggml does. */
    inverse = (search.low + search.step * step + levels) / (most - least);
    F sumQ = {}, sumQQ = {}, sumXQ = {};
    for (int i = 0; i < n; i++) {
      F v = inverse * (x[i] - least);
      if (search.bounded) v = v > 0 ? (v < levels ? v : F{} + levels) : F{};
      trial[i] = clamp(nearest(v), 0, levels);
      sumQ += w[i] * trial[i];
      sumQQ += w[i] * trial[i] * trial[i];
      sumXQ += w[i] * trial[i] * x[i];
    }
    F determinant = sumW * sumQQ - sumQ * sumQ;
    F s = (sumW * sumXQ - sumX * sumQ) / determinant, m = (sumQQ * sumX - sumQ * sumXQ) / determinant;
    auto above = m > 0;
    s = above ? sumXQ / sumQQ : s;
    m = above ? F{} : m;
    F sum = errorOf(trial, s, m);
    auto better = (determinant > 0) & (sum < error);
    for (int i = 0; i < n; i++) codes[i] = better ? trial[i] : codes[i];
    error = better ? sum : error;
    scale = better ? s : scale;
    least = better ? m : least;
  }
  for (int i = 0; i < n; i++) codes[i] = flat ? F{} : codes[i];
  return {flat ? F{} : scale, flat ? flatShift : -least};
}

/* x ≈ scale · q of values that are not negative. */
template <int n> INLINE float fitPositive(const float* x, const float* w, float levels, uint8_t* codes) {
  float most = 0;
  for (int i = 0; i < n; i++) most = most > x[i] ? most : x[i];
  __builtin_memset(codes, 0, n);
  if (most < leastMagnitude) return 0;
  auto limit = [&](float code) { return code > levels ? levels : code; };
  /* ggml keeps them as bytes. */
  auto byte = [](float code) { return (float)((int32_t)code & 255); };
  auto errorOf = [&](float inverse, bool limited) {
    float scale = 1 / inverse, sum = 0;
    for (int i = 0; i < n; i++) {
      float q = nearest(inverse * x[i]);
      float difference = x[i] - scale * (limited ? limit(q) : byte(q));
      sum += w[i] * difference * difference;
    }
    return sum;
  };
  float best = levels / most, error = errorOf(best, false);
  for (int side = -4; side <= 4; side++) {
    float inverse = (0.1f * side + levels) / most;
    float sum = side ? errorOf(inverse, true) : error;
    if (!(sum < error)) continue;
    error = sum;
    best = inverse;
  }
  float q[n];
  Sums<float> sums;
  for (int i = 0; i < n; i++) {
    float code = limit(nearest(best * x[i]));
    q[i] = byte(code);
    sums.add(w[i], x[i], code);
  }
  for (int round = 0, changed = 1; round < 5 && changed; round++) {
    changed = 0;
    for (int i = 0; i < n; i++) {
      float xq = sums.xq - w[i] * x[i] * q[i], qq = sums.qq - w[i] * q[i] * q[i];
      if (!(xq > 0 && qq > 0)) continue;
      float next = limit(nearest(x[i] * qq / xq));
      if (next == q[i]) continue;
      xq += w[i] * x[i] * next;
      qq += w[i] * next * next;
      if (!(xq * xq * sums.qq > sums.xq * sums.xq * qq)) continue;
      q[i] = byte(next);
      sums.xq = xq;
      sums.qq = qq;
      changed = 1;
    }
  }
  for (int i = 0; i < n; i++) codes[i] = (uint8_t)q[i];
  return sums.qq > 0 ? sums.xq / sums.qq : 0;
}

}  // namespace LOWBIT_ISA
