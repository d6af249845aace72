#pragma once
#include "planes.h"

/*
 * Modules of WebAssembly, which pages load, do without. So do processors without fused multiply-adds, where
 * the transforms round once more each and may lose more than the definition's own sums.
 */
#if defined(__FMA__) || defined(__ARM_NEON)
#define HAS_WINOGRAD
#endif

#ifdef HAS_WINOGRAD
#include "winogradImage.h"

namespace LOWBIT_ISA {

/*
 * Convolutions with kernels of 3 × 3 without a stride in tiles of 4 × 2 outputs (winogradAxis.h along both
 * axes): the sum over channels becomes a product of matrices for each of 24 values of the transforms, tiles
 * [tiles, inChannels] · kernels [inChannels, outChannels], a third of the multiplications. Channels lie in
 * lanes, and a block of tiles stays in the caches from the first transform to the last. Tiles of 4 × 4 would
 * take a quarter, but lose more to rounding than sums of products as they come.
 */
typedef WinogradTiles<4, 2> ConvTiles;

/* Outputs that are computed at once. */
constexpr int WINOGRAD_COLS = 256;

/* What a task works in: the transform of x, and its products, by panels of outputs. */
struct WinogradTask {
  alignas(64) float pixels[ConvTiles::PRODUCTS][WINOGRAD_TILES * WINOGRAD_ROW];
  alignas(64) float sums[WINOGRAD_COLS / PANEL_COLS][ConvTiles::PRODUCTS][WINOGRAD_TILES * PANEL_COLS];
};

/*
 * Kernels of 3 × 3 for each pair of an input and an output channel, outStep floats apart for the next output
 * and inStep for the next input; the gradient by the input takes them turned round.
 */
struct WinogradKernels {
  const float* w;
  size_t outStep, inStep;
  bool turned;
};

/*
 * to [product, inChannels, PANEL_COLS] = G w Gᵀ of up to LANES outputs from `out` on, in lanes; the panel's
 * other columns may hold anything.
 */
static void winogradPanel(const WinogradKernels& kernels, int32_t out, int32_t outs, int32_t inChannels,
                          float* to) {
  typedef ConvTiles::Rows Rows;
  typedef ConvTiles::Cols Cols;
  alignas(64) float taps[9 * LANES] = {};
  for (int32_t k = 0; k < inChannels; k++, to += PANEL_COLS) {
    transposeRows<FLOAT32>(kernels.w, out * kernels.outStep + k * kernels.inStep, kernels.outStep, outs, 9,
                           taps, LANES);
    const int step = kernels.turned ? -LANES : LANES;
    winogradBoth<3, 3, Rows::IN, Cols::IN, Rows::kernel, Cols::kernel>(
        kernels.turned ? taps + 8 * LANES : taps, 3 * step, step,
        [&](int r, int c, f32v value) __attribute__((always_inline)) {
          store(to + (size_t)(r * Cols::IN + c) * inChannels * PANEL_COLS, value);
        });
  }
}

/* y = Aᵀ sums A + bias for channels `channel` to channel + channels, at most a panel. */
static void winogradPlace(const float* sums, const Planes<float>& y, int32_t channel, int32_t channels,
                          const float* bias, const ConvTiles& tiles, int32_t first, int32_t count) {
  typedef ConvTiles::Rows Rows;
  typedef ConvTiles::Cols Cols;
  constexpr ptrdiff_t product = WINOGRAD_TILES * PANEL_COLS;
  float* strip = scratchHere<WinogradStrip>().pixels;
  eachRun(tiles, first, count, [&](const WinogradRun& run, int32_t index) {
    const int32_t row = run.row * Rows::OUT, col = run.col * Cols::OUT, width = run.count * Cols::OUT;
    const int32_t rows = y.height - row < Rows::OUT ? y.height - row : Rows::OUT;
    const int32_t cols = y.width - col < width ? y.width - col : width;
    for (int32_t c = 0; c < channels; c += LANES) {
      const int32_t lanes = channels - c < LANES ? channels - c : LANES;
      const f32v start = bias ? loadUpTo(bias + channel + c, lanes) : f32v{};
      for (int32_t t = 0; t < run.count; t++) {
        float* tile = strip + t * Cols::OUT * LANES;
        winogradBoth<Rows::IN, Cols::IN, Rows::OUT, Cols::OUT, Rows::outputs, Cols::outputs>(
            sums + (index + t) * PANEL_COLS + c, Cols::IN * product, product,
            [&](int r, int c, f32v value) __attribute__((always_inline)) {
              store(tile + (r * WINOGRAD_STRIP + c) * LANES, value + start);
            });
      }
      for (int32_t r = 0; r < rows; r++) {
        transposeBack(strip + r * WINOGRAD_STRIP * LANES, LANES, lanes, cols,
                      y.plane(run.sample, channel + c) + (size_t)(row + r) * y.width + col,
                      (size_t)y.height * y.width);
      }
    }
  });
}

/* y = bias + x ⋆ w for tiles from `first` on and outputs from `out` on; panels are w transformed. */
static void winogradBlock(const Planes<const float>& x, const float* panels, const float* bias,
                          const Planes<float>& y, int32_t out, int32_t outs, const ConvTiles& tiles,
                          int32_t first, int32_t count, WinogradTask& task) {
  const int32_t C = x.channels;
  for (int32_t k = 0; k < C; k += WINOGRAD_DEPTH) {
    const int32_t depth = C - k < WINOGRAD_DEPTH ? C - k : WINOGRAD_DEPTH;
    winogradPixels(x, k, depth, tiles, first, count, task.pixels[0]);
    for (int32_t n = 0; n < outs; n += PANEL_COLS) {
      for (int32_t p = 0; p < ConvTiles::PRODUCTS; p++) {
        const int32_t product = n / PANEL_COLS * ConvTiles::PRODUCTS + p;
        const float* panel = panels + ((size_t)product * C + k) * PANEL_COLS;
        float* sum = task.sums[n / PANEL_COLS][p];
        multiplyBlock<WINOGRAD_ROW, 1>(task.pixels[p], count, panel, PANEL_COLS, depth,
                                       k > 0 ? sum : nullptr, PANEL_COLS, sum, PANEL_COLS,
                                       outs - n < PANEL_COLS ? outs - n : PANEL_COLS);
      }
    }
  }
  for (int32_t n = 0; n < outs; n += PANEL_COLS) {
    winogradPlace(task.sums[n / PANEL_COLS][0], y, out + n, outs - n < PANEL_COLS ? outs - n : PANEL_COLS,
                  bias, tiles, first, count);
  }
}

/*
 * y = bias + x ⋆ w, output (0, 0) meeting the pixel (top, left) first, where that is fast; else false:
 * windows are better, or there is no memory. With so many channels no more is lost than in sums of products
 * as they come; eight tiles pay for the transform of the kernels.
 */
static bool winograd(const Planes<const float>& x, const WinogradKernels& kernels, const float* bias,
                     const Planes<float>& y, const ConvSizes& s, int32_t top, int32_t left) {
  const ConvTiles tiles = {s.batch, y.height, y.width, top, left};
  const int32_t C = x.channels, O = y.channels, T = tiles.count(), threads = threadCount();
  if (!winogradFits(s, tiles) || C < 64 || O < 32 || T < 8) return false;
  /* Outputs go in groups whose kernels fit into 9 MB, or one panel. */
  const size_t panel = (size_t)ConvTiles::PRODUCTS * C * PANEL_COLS;
  int32_t panels = (int32_t)((9 << 18) / panel);
  panels = panels < 1 ? 1 : panels > WINOGRAD_COLS / PANEL_COLS ? WINOGRAD_COLS / PANEL_COLS : panels;
  WinogradTask* const tasks =
      (WinogradTask*)roomHere<WinogradTask>(threads * sizeof(WinogradTask) / sizeof(float) + panels * panel);
  if (!tasks) return false;
  float* const weights = (float*)(tasks + threads);
  const int32_t least = ceilDivide(T, WINOGRAD_TILES);
  const int32_t perBlock = ceilDivide(T, least < threads ? threads : least);
  for (int32_t out = 0; out < O; out += panels * PANEL_COLS) {
    const int32_t outs = O - out < panels * PANEL_COLS ? O - out : panels * PANEL_COLS;
    parallelFor(ceilDivide(outs, LANES), [&](int32_t task) {
      const int32_t lane = task * LANES, lanes = outs - lane < LANES ? outs - lane : LANES;
      winogradPanel(kernels, out + lane, lanes, C, weights + lane / PANEL_COLS * panel + lane % PANEL_COLS);
    });
    /* A task is a place to work in, and takes the next block of tiles until none is left. */
    int32_t next = 0;
    parallelFor(threads, [&](int32_t task) {
      for (;;) {
        const int32_t first = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) * perBlock;
        if (first >= T) return;
        const int32_t count = T - first < perBlock ? T - first : perBlock;
        winogradBlock(x, weights, bias, y, out, outs, tiles, first, count, tasks[task]);
      }
    });
  }
  return true;
}

}  // namespace LOWBIT_ISA

#endif
