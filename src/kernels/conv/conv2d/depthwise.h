#pragma once
#include "planes.h"

namespace LOWBIT_ISA {

/*
 * Every channel by itself: a product of one row with a panel would gather more than it multiplies. Columns of
 * an output row lie in lanes, and each weight of the kernel meets the pixels that it sees.
 */

/*
 * One output row of a channel. Steps and widths of kernels that are common are constants (0: any other);
 * a row of the kernel that meets none of the image adds nothing.
 */
template <int step, int width>
static void depthwiseRow(const float* x, const float* w, float bias, float* y, int32_t row,
                         const ConvSizes& s) {
  const int32_t kernelWidth = width ? width : s.kernelWidth, stride = step ? step : s.strideWidth;
  const int32_t top = row * s.strideHeight - s.paddingHeight;
  for (int32_t col = 0; col < s.outWidth; col += LANES) {
    const int32_t left = col * stride - s.paddingWidth;
    f32v sum = {};
    for (int32_t i = 0; i < s.kernelHeight; i++) {
      const int32_t at = top + i * s.dilationHeight;
      if (at < 0 || at >= s.inHeight) continue;
      const float* line = x + (size_t)at * s.inWidth;
#pragma GCC unroll 5
      for (int32_t j = 0; j < kernelWidth; j++) {
        f32v pixels = pixelsAt<step>(line, left + j * s.dilationWidth, s.inWidth, stride);
        sum = fma(splat(w[i * kernelWidth + j]), pixels, sum);
      }
    }
    storeUpTo(y + col, sum + splat(bias), s.outWidth - col);
  }
}

using DepthwiseRow = void (*)(const float*, const float*, float, float*, int32_t, const ConvSizes&);

template <int step> static DepthwiseRow depthwiseRowOf(int32_t width) {
  return width == 3 ? depthwiseRow<step, 3> : width == 5 ? depthwiseRow<step, 5> : depthwiseRow<step, 0>;
}

/* groups = inChannels = outChannels */
static void depthwise(const float* x, const float* w, const float* bias, float* y, const ConvSizes& s) {
  const size_t in = (size_t)s.inHeight * s.inWidth, out = (size_t)s.outHeight * s.outWidth;
  const int32_t taps = s.kernelHeight * s.kernelWidth, planes = s.batch * s.outChannels;
  /* A hundred thousand multiplications take some 20 microseconds. */
  const int32_t perTask = (int32_t)(100000 / (out * taps + 1)) + 1;
  const DepthwiseRow multiply = s.strideWidth == 1   ? depthwiseRowOf<1>(s.kernelWidth)
                                : s.strideWidth == 2 ? depthwiseRowOf<2>(s.kernelWidth)
                                                     : depthwiseRowOf<0>(s.kernelWidth);
  parallelFor(ceilDivide(planes, perTask), [&](int32_t task) {
    for (int32_t p = task * perTask; p < (task + 1) * perTask && p < planes; p++) {
      const int32_t channel = p % s.outChannels;
      for (int32_t row = 0; row < s.outHeight; row++) {
        multiply(x + p * in, w + (size_t)channel * taps, bias ? bias[channel] : 0,
                 y + p * out + (size_t)row * s.outWidth, row, s);
      }
    }
  });
}

}  // namespace LOWBIT_ISA
