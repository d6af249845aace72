#pragma once
/* Exponentials and logarithms; a part of simd.h, which includes it. */

namespace LOWBIT_ISA {

/*
 * e^x within 2 ulp: x = n·ln 2 + r with |r| <= ln 2 / 2, e^r by its series to r^7 (the rest is below 6e-9),
 * times 2^n. NaN, infinities, overflow and denormal results come out right.
 */
static const float expConstants[] = {
    /* Beyond these the result is infinite or zero anyway. */
    -104.0f, 89.0f,
    /* log2 e; adding 1.5·2^23 leaves round(x·log2 e) in the low bits. */
    1.44269504f, 12582912.0f,
    /* -ln 2 in two parts, of which the first has few enough bits that n times it is exact. */
    -0.693359375f, 2.12194440e-4f,
    /* 1/7! … 1/2! */
    1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f,
    /* 1.5·2^23 + 127 + 65, and 2^-65. */
    12583104.0f, 0x1p-65f};

/* e^r by its series, |r| <= ln 2 / 2, for x = whole · ln 2 + r. */
INLINE f32v expOfRest(f32v x, f32v whole, const float* c) {
  f32v r = fma(whole, splat(c[4]), x);
  r = fma(whole, splat(c[5]), r);
  f32v p = fma(r, splat(c[6]), splat(c[7]));
  p = fma(p, r, splat(c[8]));
  p = fma(p, r, splat(c[9]));
  p = fma(p, r, splat(c[10]));
  p = fma(p, r, splat(c[11]));
  return fma(p, r * r, r) + 1.0f;
}

INLINE f32v exp(f32v x) {
  /* Read from memory: a WebAssembly engine takes three instructions to make a constant, each time. */
  const float* c = expConstants;
  opaque(c);
  /* min and max in this order pass NaN on. */
  x = max(splat(c[0]), min(splat(c[1]), x));
  const f32v shifter = splat(c[3]);
  f32v shifted = fma(x, splat(c[2]), shifter);
  i32v n = (i32v)shifted - (i32v)shifter;
  f32v p = expOfRest(x, shifted - shifter, c);
  /* 2^n in two factors: n reaches 128 and -150, outside the exponents of a normal float. */
  i32v half = n >> 1;
  return p * (f32v)((half + 127) << 23) * (f32v)((n - half + 127) << 23);
}

/* exp(x), bit for bit, of x up to 0, in seven instructions less: softmax and sigmoid take no other. */
INLINE f32v expOfNegative(f32v x) {
  const float* c = expConstants;
  opaque(c);
  x = max(splat(c[0]), x);
  /* With 127 + 65 more in the low bits these, moved up, are 2^(n + 65), n from -150 on. */
  const f32v shifter = splat(c[12]);
  f32v shifted = fma(x, splat(c[2]), shifter);
  f32v p = expOfRest(x, shifted - shifter, c);
  return p * (f32v)((i32v)shifted << 23) * splat(c[13]);
}

INLINE float exp(float x) { return exp(splat(x))[0]; }

/*
 * ln x of a positive double: x = 2^e·m, m in [√½, √2), ln m = 2·artanh((m-1)/(m+1)); for sums of
 * exponentials.
 */
INLINE double log(double x) {
  if (!(x > 0)) return x == 0 ? -__builtin_inf() : __builtin_nan("");
  if (x > 1.79769313486231570e308) return x;
  int64_t e = 0;
  if (x < 2.2250738585072014e-308) {
    x *= 0x1p54;
    e = -54;
  }
  int64_t bits = __builtin_bit_cast(int64_t, x);
  /* Counted from the pattern of √½, the exponent splits off such that √½ <= m < √2. */
  int64_t exponent = (bits - 0x3fe6a09e667f3bcdll) >> 52;
  double m = __builtin_bit_cast(double, bits - exponent * (1ll << 52));
  e += exponent;
  double s = (m - 1) / (m + 1), s2 = s * s, series = 0;
  for (int k = 23; k >= 1; k -= 2) series = series * s2 + 1.0 / k;
  return (double)e * 0.69314718055994530942 + 2 * s * series;
}

}  // namespace LOWBIT_ISA
