#include "../conv2d/depthwise.h"
#include "../conv2d/winograd.h"

namespace LOWBIT_ISA {

/*
 * For each group y [outChannels, positions] = w [outChannels, inChannels · kernel] · pixels [inChannels ·
 * kernel, positions], the pixels gathered panel by panel; they are never laid out as a whole.
 */
void conv2d(const float* x, const float* w, const float* bias, float* y, int32_t batch, int32_t inChannels,
            int32_t inHeight, int32_t inWidth, int32_t outChannels, int32_t outHeight, int32_t outWidth,
            int32_t kernelHeight, int32_t kernelWidth, int32_t strideHeight, int32_t strideWidth,
            int32_t paddingHeight, int32_t paddingWidth, int32_t dilationHeight, int32_t dilationWidth,
            int32_t groups) {
  const ConvSizes sizes = {batch, inChannels, inHeight, inWidth, outChannels, outHeight, outWidth,
                           kernelHeight, kernelWidth, strideHeight, strideWidth, paddingHeight, paddingWidth,
                           dilationHeight, dilationWidth, groups};
  if (groups == inChannels && groups == outChannels) return depthwise(x, w, bias, y, sizes);
#ifdef HAS_WINOGRAD
  if (winograd({x, inChannels, inHeight, inWidth}, {w, (size_t)inChannels * 9, 9, false}, bias,
               {y, outChannels, outHeight, outWidth}, sizes, -paddingHeight, -paddingWidth)) return;
#endif
  if (kernelHeight * kernelWidth * strideHeight * strideWidth == 1 && paddingHeight + paddingWidth == 0) {
    /* Every position by itself: an image of one row, gathered in longer runs. */
    inWidth *= inHeight, outWidth *= outHeight;
    inHeight = outHeight = 1;
  }
  Planes<const float> in = {x, inChannels, inHeight, inWidth};
  Planes<float> out = {y, outChannels, outHeight, outWidth};
  Grid grid = {outHeight, outWidth, strideHeight, strideWidth, 0, 0}, own = {outHeight, outWidth, 1, 1, 0, 0};
  int32_t M = outChannels / groups, inGroup = inChannels / groups, taps = kernelHeight * kernelWidth,
          K = inGroup * taps;
  multiplyBlocks(
      groups, M, batch * outHeight * outWidth, K,
      [=](int32_t g, int32_t m, int32_t rows, int32_t k, int32_t depth, float* to) {
        copyRows(w + (size_t)(g * M + m) * K + k, K, rows, depth, to);
      },
      [=](int32_t g, int32_t n, int32_t cols, int32_t k, int32_t depth, float* to) {
        gatherWindows(in, g * inGroup, sizes, k, depth, grid, Position(grid, n), cols, to, PANEL_COLS);
      },
      [=](int32_t g, int32_t m, int32_t rows, int32_t n, int32_t cols, int32_t k, auto multiply) {
        placePixels(out, g * M + m, rows, own, Position(own, n), cols, k, bias, multiply);
      });
}

}  // namespace LOWBIT_ISA
