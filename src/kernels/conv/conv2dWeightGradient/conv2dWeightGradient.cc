#include "winogradGradient.h"

namespace LOWBIT_ISA {

/* dw [cols, rows] with stride between its rows, = (or += for k > 0) the transpose of tile [rows, cols]. */
static void placeTransposed(const float* tile, int32_t rows, int32_t cols, float* dw, size_t stride,
                            int32_t k) {
  if (k == 0) return transposeRows<FLOAT32>(tile, 0, PANEL_COLS, rows, cols, dw, stride);
  alignas(64) float part[PANEL_COLS * 16];
  for (int32_t r = 0; r < rows; r += 16) {
    int32_t count = rows - r < 16 ? rows - r : 16;
    transposeRows<FLOAT32>(tile, (size_t)r * PANEL_COLS, PANEL_COLS, count, cols, part, 16);
    for (int32_t c = 0; c < cols; c++) {
      float* to = dw + c * stride + r;
      for (int32_t i = 0; i < count; i += LANES)
        storeUpTo(to + i, loadUpTo(to + i, count - i) + loadUpTo(part + c * 16 + i, count - i), count - i);
    }
  }
}

/*
 * For each group dwᵀ [inChannels · kernel, outChannels] = pixels of x [inChannels · kernel, positions] · dyᵀ
 * [positions, outChannels]: this way the pixels, which are many, are copied in rows, and only dy is
 * transposed.
 */
void conv2dWeightGradient(const float* x, const float* dy, float* dw, int32_t batch, int32_t inChannels,
                          int32_t inHeight, int32_t inWidth, int32_t outChannels, int32_t outHeight,
                          int32_t outWidth, int32_t kernelHeight, int32_t kernelWidth, int32_t strideHeight,
                          int32_t strideWidth, int32_t paddingHeight, int32_t paddingWidth,
                          int32_t dilationHeight, int32_t dilationWidth, int32_t groups) {
  Planes<const float> in = {x, inChannels, inHeight, inWidth};
  const ConvSizes sizes = {batch, inChannels, inHeight, inWidth, outChannels, outHeight, outWidth,
                           kernelHeight, kernelWidth, strideHeight, strideWidth, paddingHeight, paddingWidth,
                           dilationHeight, dilationWidth, groups};
#ifdef HAS_WINOGRAD
  if (winogradGradient(in, {dy, outChannels, outHeight, outWidth}, dw, sizes)) return;
#endif
  Grid grid = {outHeight, outWidth, strideHeight, strideWidth, 0, 0};
  int32_t N = outChannels / groups, inGroup = inChannels / groups, taps = kernelHeight * kernelWidth,
          M = inGroup * taps;
  int32_t plane = outHeight * outWidth;
  multiplyBlocks(
      groups, M, N, batch * plane,
      [=](int32_t g, int32_t m, int32_t rows, int32_t k, int32_t depth, float* to) {
        gatherRows(in, g * inGroup, sizes, m, rows, grid, Position(grid, k), depth, to);
      },
      [=](int32_t g, int32_t n, int32_t cols, int32_t k, int32_t depth, float* to) {
        for (int32_t i = 0; i < depth;) {
          int32_t sample = (k + i) / plane, first = (k + i) % plane,
                  run = plane - first < depth - i ? plane - first : depth - i;
          size_t from = ((size_t)sample * outChannels + g * N + n) * plane + first;
          transposeRows<FLOAT32>(dy, from, plane, cols, run, to + i * PANEL_COLS, PANEL_COLS);
          i += run;
        }
      },
      [=](int32_t g, int32_t m, int32_t rows, int32_t n, int32_t cols, int32_t k, auto multiply) {
        float* tile = scratchHere<ConvTile>().values;
        multiply(nullptr, 0, tile, PANEL_COLS);
        placeTransposed(tile, rows, cols, dw + (size_t)(g * N + n) * M + m, M, k);
      });
}

}  // namespace LOWBIT_ISA
