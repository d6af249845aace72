#include "../conv2d/winograd.h"

namespace LOWBIT_ISA {

/* Along one axis the pixels first, first + stride, …: how many, and which values of the kernel reach them. */
struct ConvPhase {
  int32_t count, taps;
  int32_t first, stride, padding, dilation, kernel;

  ConvPhase(int32_t first, int32_t length, int32_t stride, int32_t padding, int32_t dilation, int32_t kernel)
      : count((length - first + stride - 1) / stride),
        taps(0),
        first(first),
        stride(stride),
        padding(padding),
        dilation(dilation),
        kernel(kernel) {
    for (int32_t t = 0; t < kernel; t++) taps += reaches(t);
  }

  bool reaches(int32_t tap) const { return (first + padding - tap * dilation) % stride == 0; }

  /* Index in the kernel of tap number `index`. */
  int32_t tap(int32_t index) const {
    for (int32_t t = 0;; t++) if (reaches(t) && index-- == 0) return t;
  }

  /* Output minus position, for a value of the kernel. */
  int32_t offset(int32_t tap) const { return (first + padding - tap * dilation) / stride; }
};

/*
 * With a stride, the pixels of dx fall into stride × stride phases, each reached by its own part of the
 * kernel; a phase is a plain product: dx [inChannels, positions] = wᵀ [inChannels, taps · outChannels] ·
 * pixels of dy [taps · outChannels, positions].
 */
void conv2dInputGradient(const float* dy, const float* w, const float* bias, float* dx, int32_t batch,
                         int32_t inChannels, int32_t inHeight, int32_t inWidth, int32_t outChannels,
                         int32_t outHeight, int32_t outWidth, int32_t kernelHeight, int32_t kernelWidth,
                         int32_t strideHeight, int32_t strideWidth, int32_t paddingHeight,
                         int32_t paddingWidth, int32_t dilationHeight, int32_t dilationWidth,
                         int32_t groups) {
#ifdef HAS_WINOGRAD
  const ConvSizes sizes = {batch, inChannels, inHeight, inWidth, outChannels, outHeight, outWidth,
                           kernelHeight, kernelWidth, strideHeight, strideWidth, paddingHeight, paddingWidth,
                           dilationHeight, dilationWidth, groups};
  if (winograd({dy, outChannels, outHeight, outWidth}, {w, 9, (size_t)inChannels * 9, true}, bias,
               {dx, inChannels, inHeight, inWidth}, sizes, paddingHeight - 2, paddingWidth - 2)) return;
#endif
  Planes<const float> out = {dy, outChannels, outHeight, outWidth};
  Planes<float> in = {dx, inChannels, inHeight, inWidth};
  int32_t M = inChannels / groups, outGroup = outChannels / groups, kernel = kernelHeight * kernelWidth;
  for (int32_t phase = 0; phase < strideHeight * strideWidth; phase++) {
    ConvPhase rowPhase(phase / strideWidth, inHeight, strideHeight, paddingHeight, dilationHeight,
                       kernelHeight);
    ConvPhase colPhase(phase % strideWidth, inWidth, strideWidth, paddingWidth, dilationWidth, kernelWidth);
    if (rowPhase.count <= 0 || colPhase.count <= 0) continue;
    Grid grid = {rowPhase.count, colPhase.count, 1, 1, 0, 0};
    Grid own = {rowPhase.count, colPhase.count, strideHeight, strideWidth, rowPhase.first, colPhase.first};
    multiplyBlocks(
        groups, M, batch * grid.rows * grid.cols, rowPhase.taps * colPhase.taps * outGroup,
        [=](int32_t g, int32_t m, int32_t rows, int32_t k, int32_t depth, float* to) {
          for (int32_t i = 0; i < depth;) {
            int32_t tap = (k + i) / outGroup, o = (k + i) % outGroup,
                    run = outGroup - o < depth - i ? outGroup - o : depth - i;
            int32_t row = rowPhase.tap(tap / colPhase.taps), col = colPhase.tap(tap % colPhase.taps);
            const float* from = w + ((size_t)(g * outGroup + o) * M + m) * kernel + row * kernelWidth + col;
            copyColumns(from, (size_t)M * kernel, kernel, rows, run, depth, to + i * DEPTH_STEP);
            i += run;
          }
        },
        [=](int32_t g, int32_t n, int32_t cols, int32_t k, int32_t depth, float* to) {
          Position at(grid, n);
          for (int32_t i = 0; i < depth;) {
            int32_t tap = (k + i) / outGroup, o = (k + i) % outGroup,
                    run = outGroup - o < depth - i ? outGroup - o : depth - i;
            int32_t row = rowPhase.tap(tap / colPhase.taps), col = colPhase.tap(tap % colPhase.taps);
            Grid shifted = grid.at(rowPhase.offset(row), colPhase.offset(col));
            gatherChannels(out, g * outGroup + o, run, shifted, at, cols, to + i * PANEL_COLS, PANEL_COLS);
            i += run;
          }
        },
        [=](int32_t g, int32_t m, int32_t rows, int32_t n, int32_t cols, int32_t k, auto multiply) {
          placePixels(in, g * M + m, rows, own, Position(own, n), cols, k, bias, multiply);
        });
  }
}

}  // namespace LOWBIT_ISA
