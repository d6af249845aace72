#include "../maxPool2d/window.h"
#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* The index of the largest value of a window, -1 if it is empty. */
static int32_t maxPoolBest(const float* plane, const PoolAxis& h, const PoolAxis& w, int32_t oh, int32_t ow) {
  int32_t best = -1;
  float largest = 0;
  int32_t lastRow = h.end(oh) < h.size ? h.end(oh) : h.size,
          lastCol = w.end(ow) < w.size ? w.end(ow) : w.size;
  for (int32_t i = h.start(oh); i < lastRow; i += h.dilation) {
    if (i < 0) continue;
    for (int32_t k = w.start(ow); k < lastCol; k += w.dilation) {
      if (k < 0) continue;
      float value = plane[i * w.size + k];
      if (best < 0 || value > largest || (value != value && largest == largest)) {
        best = i * w.size + k;
        largest = value;
      }
    }
  }
  return best;
}

void maxPool2d(const float* x, float* y, int32_t* indices, int32_t planes, int32_t height, int32_t width,
               int32_t outHeight, int32_t outWidth, int32_t kernelHeight, int32_t kernelWidth,
               int32_t strideHeight, int32_t strideWidth, int32_t padHeight, int32_t padWidth,
               int32_t dilationHeight, int32_t dilationWidth) {
  PoolAxis h{height, outHeight, kernelHeight, strideHeight, padHeight, dilationHeight};
  PoolAxis w{width, outWidth, kernelWidth, strideWidth, padWidth, dilationWidth};
  eachRow(planes, height * width, [&](int32_t p) {
    const float* plane = x + (size_t)p * height * width;
    size_t to = (size_t)p * outHeight * outWidth;
    for (int32_t oh = 0; oh < outHeight; oh++) {
      for (int32_t ow = 0; ow < outWidth; ow++, to++) {
        int32_t best = maxPoolBest(plane, h, w, oh, ow);
        indices[to] = best;
        y[to] = best < 0 ? -__builtin_inff() : plane[best];
      }
    }
  });
}

}  // namespace LOWBIT_ISA
