#pragma once
#include "../conv2d/winograd.h"

#ifdef HAS_WINOGRAD

namespace LOWBIT_ISA {

/*
 * The gradient by the kernels in tiles of 4 × 4: dw = Gᵀ [ Σ (A dy Aᵀ) ⊙ (Bᵀ x B) ] G. The sum over tiles is
 * a product [outChannels, tiles] · [tiles, inChannels] for each of 36 values of the transforms.
 */
typedef WinogradTiles<4, 4> GradientTiles;

/* Output and input channels of a block, whose sums stay in the cache while the tiles pass by. */
constexpr int WINOGRAD_BLOCK = 64;

/* What a task works in: transforms of x and dy as winogradImage lays them, and their products. */
struct WinogradBlock {
  alignas(64) float pixels[GradientTiles::PRODUCTS][WINOGRAD_TILES * WINOGRAD_ROW];
  alignas(64) float gradients[GradientTiles::PRODUCTS][WINOGRAD_TILES * WINOGRAD_ROW];
  alignas(64) float sums[GradientTiles::PRODUCTS][WINOGRAD_BLOCK * WINOGRAD_BLOCK];
};

/* block.sums over the tiles from first to last, for `outs` outputs from o on and `ins` inputs from c on. */
static void winogradSums(const Planes<const float>& x, int32_t c, int32_t ins, const Planes<const float>& dy,
                         int32_t o, int32_t outs, const GradientTiles& tiles, int32_t first, int32_t last,
                         WinogradBlock& block) {
  typedef WinogradAxis<4> Axis;
  for (int32_t tile = first; tile < last; tile += WINOGRAD_TILES) {
    const int32_t depth = last - tile < WINOGRAD_TILES ? last - tile : WINOGRAD_TILES;
    winogradPixels(x, c, ins, tiles, tile, depth, block.pixels[0]);
    winogradImage<GradientTiles, 4, 4, Axis::outputGradients, Axis::outputGradients>(
        dy, o, outs, tiles, 0, 0, tile, depth, block.gradients[0]);
    for (int32_t p = 0; p < GradientTiles::PRODUCTS; p++) {
      multiplyBlock<1, WINOGRAD_ROW>(block.gradients[p], outs, block.pixels[p], WINOGRAD_ROW, depth,
                                     tile > first ? block.sums[p] : nullptr, WINOGRAD_BLOCK, block.sums[p],
                                     WINOGRAD_BLOCK, ins);
    }
  }
}

/* dw [outs, ins, 9] with rowStride between its rows = Gᵀ sums G. */
static void winogradPlaceKernels(const WinogradBlock& block, int32_t outs, int32_t ins, float* dw,
                                 size_t rowStride) {
  typedef WinogradAxis<4> Axis;
  constexpr ptrdiff_t product = WINOGRAD_BLOCK * WINOGRAD_BLOCK;
  for (int32_t r = 0; r < outs; r++, dw += rowStride) {
    for (int32_t i = 0; i < ins; i += LANES) {
      alignas(64) float taps[9 * LANES];
      winogradBoth<6, 6, 3, 3, Axis::kernelGradient, Axis::kernelGradient>(
          block.sums[0] + r * WINOGRAD_BLOCK + i, 6 * product, product,
          [&](int row, int col, f32v value) __attribute__((always_inline)) {
            store(taps + (row * 3 + col) * LANES, value);
          });
      transposeBack(taps, LANES, ins - i < LANES ? ins - i : LANES, 9, dw + i * 9, 9);
    }
  }
}

/* y [count] += all of parts [n, count]. */
static void addParts(const float* parts, int32_t n, size_t count, float* y) {
  constexpr size_t some = 4096;
  parallelFor(ceilDivide(count, some), [&](int32_t task) {
    const size_t first = task * some, last = count - first < some ? count : first + some;
    for (size_t i = first; i < last; i += LANES) {
      f32v sum = loadUpTo(y + i, last - i);
      for (int32_t r = 0; r < n; r++) sum += loadUpTo(parts + r * count + i, last - i);
      storeUpTo(y + i, sum, last - i);
    }
  });
}

/*
 * dw where that is fast, else false: windows are better, tiles are too few for their rounding to vanish in
 * the sum, or there is no memory.
 */
static bool winogradGradient(const Planes<const float>& x, const Planes<const float>& dy, float* dw,
                             const ConvSizes& s) {
  const GradientTiles tiles = {s.batch, dy.height, dy.width, -s.paddingHeight, -s.paddingWidth};
  const int32_t C = x.channels, O = dy.channels, T = tiles.count(), threads = threadCount();
  if (!winogradFits(s, tiles) || C < 32 || O < 32 || T < 64) return false;
  const int32_t inBlocks = ceilDivide(C, WINOGRAD_BLOCK), blocks = ceilDivide(O, WINOGRAD_BLOCK) * inBlocks;
  /* Few blocks: several tasks for each, of a range of tiles, and their sums are added at the end. */
  const int32_t most = ceilDivide(T, WINOGRAD_TILES);
  const int32_t wanted = threads == 1 ? 1 : ceilDivide(4 * threads, blocks);
  const int32_t perRange = ceilDivide(T, wanted < most ? wanted : most), ranges = ceilDivide(T, perRange);
  constexpr size_t blockSize = sizeof(WinogradBlock) / sizeof(float);
  const size_t count = (size_t)O * C * 9;
  float* const room = roomHere<WinogradBlock>(threads * blockSize + (ranges - 1) * count);
  if (!room) return false;
  float* const parts = room + threads * blockSize;
  /* A task is a place to work in, and takes the next block until none is left. */
  int32_t next = 0;
  parallelFor(threads, [&](int32_t task) {
    WinogradBlock& block = ((WinogradBlock*)room)[task];
    for (;;) {
      const int32_t unit = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED), range = unit / blocks;
      if (range >= ranges) return;
      const int32_t o = unit % blocks / inBlocks * WINOGRAD_BLOCK, c = unit % inBlocks * WINOGRAD_BLOCK;
      const int32_t outs = O - o < WINOGRAD_BLOCK ? O - o : WINOGRAD_BLOCK;
      const int32_t ins = C - c < WINOGRAD_BLOCK ? C - c : WINOGRAD_BLOCK;
      const int32_t first = range * perRange, last = T - first < perRange ? T : first + perRange;
      winogradSums(x, c, ins, dy, o, outs, tiles, first, last, block);
      winogradPlaceKernels(block, outs, ins,
                           (range == 0 ? dw : parts + (range - 1) * count) + ((size_t)o * C + c) * 9,
                           (size_t)C * 9);
    }
  });
  if (ranges > 1) addParts(parts, ranges - 1, count, dw);
  return true;
}

}  // namespace LOWBIT_ISA

#endif
