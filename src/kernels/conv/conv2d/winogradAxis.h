#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/*
 * Winograd's convolution along one axis: `out` outputs of a kernel of three values by out + 2 products, where
 * the definition takes 3 · out,
 *
 *     y = Aᵀ [ (G w) ⊙ (Bᵀ x) ]        x [out + 2], w [3], y [out], ⊙ value by value
 *
 * and so the gradient of w is Gᵀ [ (A dy) ⊙ (Bᵀ x) ]. The matrices evaluate polynomials at points, here of
 * vectors, whose lanes are channels; values written lie `step` vectors apart.
 * Source: Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
 */
template <int out> struct WinogradAxis;

/* The points 0, ±1 and ∞. */
template <> struct WinogradAxis<2> {
  static constexpr int OUT = 2, IN = 4;

  /* Bᵀ x */
  INLINE void image(const f32v* x, f32v* to, int step) {
    to[0] = x[2] - x[0];
    to[1 * step] = x[2] + x[1];
    to[2 * step] = x[2] - x[1];
    to[3 * step] = x[3] - x[1];
  }

  /* G w */
  INLINE void kernel(const f32v* w, f32v* to, int step) {
    f32v even = (w[0] + w[2]) * 0.5f, odd = w[1] * 0.5f;
    to[0] = -w[0];
    to[1 * step] = even + odd;
    to[2 * step] = even - odd;
    to[3 * step] = w[2];
  }

  /* Aᵀ m */
  INLINE void outputs(const f32v* m, f32v* to, int step) {
    to[0] = m[0] + (m[1] + m[2]);
    to[1 * step] = (m[1] - m[2]) + m[3];
  }
};

/*
 * The points 0, ±3/4, ±3/2 and ∞: of those that are short fractions they lose least to rounding, a third of
 * what the common 0, ±1, ±2 and ∞ do.
 */
template <> struct WinogradAxis<4> {
  static constexpr int OUT = 4, IN = 6;
  /* 1 ÷ the product of a point's distances from the others, of 0, ±3/4 and ±3/2. */
  static constexpr float ZERO = 64.0f / 81, NEAR = -128.0f / 243, FAR = 32.0f / 243;

  /* Bᵀ x */
  INLINE void image(const f32v* x, f32v* to, int step) {
    f32v near = fma(x[2], splat(-2.25f), x[4]), nearOdd = fma(x[1], splat(-2.25f), x[3]);
    f32v far = fma(x[2], splat(-0.5625f), x[4]), farOdd = fma(x[1], splat(-0.5625f), x[3]);
    to[0] = fma(x[0], splat(1.265625f), fma(x[2], splat(-2.8125f), x[4]));
    to[1 * step] = fma(nearOdd, splat(0.75f), near);
    to[2 * step] = fma(nearOdd, splat(-0.75f), near);
    to[3 * step] = fma(farOdd, splat(1.5f), far);
    to[4 * step] = fma(farOdd, splat(-1.5f), far);
    to[5 * step] = fma(x[1], splat(1.265625f), fma(x[3], splat(-2.8125f), x[5]));
  }

  /* G w */
  INLINE void kernel(const f32v* w, f32v* to, int step) {
    f32v near = fma(w[2], splat(0.5625f), w[0]), nearOdd = w[1] * 0.75f;
    f32v far = fma(w[2], splat(2.25f), w[0]), farOdd = w[1] * 1.5f;
    to[0] = w[0] * ZERO;
    to[1 * step] = (near + nearOdd) * NEAR;
    to[2 * step] = (near - nearOdd) * NEAR;
    to[3 * step] = (far + farOdd) * FAR;
    to[4 * step] = (far - farOdd) * FAR;
    to[5 * step] = w[2];
  }

  /* Aᵀ m */
  INLINE void outputs(const f32v* m, f32v* to, int step) {
    f32v near = m[1] + m[2], nearOdd = m[1] - m[2], far = m[3] + m[4], farOdd = m[3] - m[4];
    to[0] = m[0] + (near + far);
    to[1 * step] = fma(nearOdd, splat(0.75f), farOdd * 1.5f);
    to[2 * step] = fma(near, splat(0.5625f), far * 2.25f);
    to[3 * step] = fma(nearOdd, splat(0.421875f), fma(farOdd, splat(3.375f), m[5]));
  }

  /* A dy */
  INLINE void outputGradients(const f32v* dy, f32v* to, int step) {
    f32v near = fma(dy[2], splat(0.5625f), dy[0]), nearOdd = fma(dy[3], splat(0.421875f), dy[1] * 0.75f);
    f32v far = fma(dy[2], splat(2.25f), dy[0]), farOdd = fma(dy[3], splat(3.375f), dy[1] * 1.5f);
    to[0] = dy[0];
    to[1 * step] = near + nearOdd;
    to[2 * step] = near - nearOdd;
    to[3 * step] = far + farOdd;
    to[4 * step] = far - farOdd;
    to[5 * step] = dy[3];
  }

  /* Gᵀ m */
  INLINE void kernelGradient(const f32v* m, f32v* to, int step) {
    f32v near = (m[1] + m[2]) * NEAR, nearOdd = (m[1] - m[2]) * NEAR;
    f32v far = (m[3] + m[4]) * FAR, farOdd = (m[3] - m[4]) * FAR;
    to[0] = fma(m[0], splat(ZERO), near + far);
    to[1 * step] = fma(nearOdd, splat(0.75f), farOdd * 1.5f);
    to[2 * step] = fma(near, splat(0.5625f), fma(far, splat(2.25f), m[5]));
  }
};

/*
 * visit(row, col, value) for R x Cᵀ [toRows, toCols], R = rowTransform and C = colTransform; x [rows, cols]
 * are vectors rowStep and step floats apart.
 */
template <int rows, int cols, int toRows, int toCols, auto rowTransform, auto colTransform, class Visit>
INLINE void winogradBoth(const float* x, ptrdiff_t rowStep, ptrdiff_t step, Visit visit) {
  f32v half[toCols * rows], line[6];
#pragma GCC unroll 6
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 6
    for (int c = 0; c < cols; c++) line[c] = load(x + r * rowStep + c * step);
    colTransform(line, half + r, rows);
  }
#pragma GCC unroll 6
  for (int c = 0; c < toCols; c++) {
    rowTransform(half + c * rows, line, 1);
#pragma GCC unroll 6
    for (int r = 0; r < toRows; r++) visit(r, c, line[r]);
  }
}

}  // namespace LOWBIT_ISA
