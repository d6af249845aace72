#pragma once
#include "planes.h"
#include "winogradAxis.h"

namespace LOWBIT_ISA {

/*
 * Tiles of `samples` images of height × width outputs, in the order sample, row, column; output (0, 0) meets
 * the pixel (top, left) first.
 */
template <int rows, int cols> struct WinogradTiles {
  typedef WinogradAxis<rows> Rows;
  typedef WinogradAxis<cols> Cols;
  static constexpr int ROWS = rows, COLS = cols, PRODUCTS = Rows::IN * Cols::IN;

  int32_t samples, height, width, top, left;
  int32_t tileRows = ceilDivide(height, rows), tileCols = ceilDivide(width, cols);

  int32_t count() const { return samples * tileRows * tileCols; }
  /* How much of the tiles lies in the image. */
  double filled() const { return (double)height * width / (rows * tileRows * cols * tileCols); }
};

/* Tiles side by side in one row. */
struct WinogradRun {
  int32_t sample, row, col, count;
};

/* Pixels of a run for LANES channels, in lanes: one per thread. */
constexpr int WINOGRAD_RUN = 16, WINOGRAD_STRIP = WINOGRAD_RUN * 4 + 2;
struct WinogradStrip {
  alignas(64) float pixels[6 * WINOGRAD_STRIP * LANES];
};

/* visit(run, index of its first tile) for tiles first to first + count. */
template <class Tiles, class Visit>
INLINE void eachRun(const Tiles& tiles, int32_t first, int32_t count, Visit visit) {
  for (int32_t done = 0; done < count;) {
    int32_t tile = first + done, col = tile % tiles.tileCols, row = tile / tiles.tileCols;
    int32_t run = tiles.tileCols - col;
    if (run > count - done) run = count - done;
    if (run > WINOGRAD_RUN) run = WINOGRAD_RUN;
    visit(WinogradRun{row / tiles.tileRows, row % tiles.tileRows, col, run}, done);
    done += run;
  }
}

/*
 * strip [rows, cols, LANES] = pixels from (row, col) on of up to LANES channels, 0 outside the image; lanes
 * without a channel may hold anything.
 */
static void fillStrip(const Planes<const float>& x, int32_t sample, int32_t channel, int32_t row,
                      int32_t rows, int32_t col, int32_t cols, float* strip) {
  const int32_t channels = x.channels - channel < LANES ? x.channels - channel : LANES;
  int32_t from = col < 0 ? -col : 0, to = x.width - col < cols ? x.width - col : cols;
  for (int32_t r = 0; r < rows; r++, strip += WINOGRAD_STRIP * LANES) {
    const bool inside = row + r >= 0 && row + r < x.height && from < to;
    const int32_t first = inside ? from : cols, last = inside ? to : cols;
    for (int32_t c = 0; c < first; c++) store(strip + c * LANES, f32v{});
    for (int32_t c = last; c < cols; c++) store(strip + c * LANES, f32v{});
    if (!inside) continue;
    transposeRows<FLOAT32>(x.plane(sample, channel), (size_t)(row + r) * x.width + col + first,
                           (size_t)x.height * x.width, channels, last - first, strip + first * LANES, LANES);
  }
}

/* Tiles that are transformed at once, and channels, so that sums over them stay short. */
constexpr int WINOGRAD_TILES = 48, WINOGRAD_DEPTH = 128;
/* Odd in cache lines, so that tiles do not fall into one set. */
constexpr int WINOGRAD_ROW = WINOGRAD_DEPTH + 16;

/*
 * to [product, tile, WINOGRAD_ROW] = the transform of `depth` channels from `channel` on, for the tiles from
 * `first` on; a tile sees seenRows × seenCols pixels, the first one those from (top, left).
 */
template <class Tiles, int seenRows, int seenCols, auto rowTransform, auto colTransform>
static void winogradImage(const Planes<const float>& x, int32_t channel, int32_t depth, const Tiles& tiles,
                          int32_t top, int32_t left, int32_t first, int32_t count, float* to) {
  constexpr int rows = Tiles::Rows::IN, cols = Tiles::Cols::IN;
  float* strip = scratchHere<WinogradStrip>().pixels;
  eachRun(tiles, first, count, [&](const WinogradRun& run, int32_t index) {
    for (int32_t c = 0; c < depth; c += LANES) {
      fillStrip(x, run.sample, channel + c, top + run.row * Tiles::ROWS, seenRows,
                left + run.col * Tiles::COLS, (run.count - 1) * Tiles::COLS + seenCols, strip);
      for (int32_t t = 0; t < run.count; t++) {
        float* tile = to + (index + t) * WINOGRAD_ROW + c;
        winogradBoth<seenRows, seenCols, rows, cols, rowTransform, colTransform>(
            strip + t * Tiles::COLS * LANES, WINOGRAD_STRIP * LANES, LANES,
            [&](int r, int c, f32v value) __attribute__((always_inline)) {
              store(tile + (size_t)(r * cols + c) * WINOGRAD_TILES * WINOGRAD_ROW, value);
            });
      }
    }
  });
}

/* The transform of x, Bᵀ x B. */
template <class Tiles>
static void winogradPixels(const Planes<const float>& x, int32_t channel, int32_t depth, const Tiles& tiles,
                           int32_t first, int32_t count, float* to) {
  winogradImage<Tiles, Tiles::Rows::IN, Tiles::Cols::IN, Tiles::Rows::image, Tiles::Cols::image>(
      x, channel, depth, tiles, tiles.top, tiles.left, first, count, to);
}

/*
 * Whether tiles may stand for windows: kernels of 3 × 3 that move by one pixel over images that fill most of
 * their tiles. The values of a tile share their rounding, so one may lose as much as its largest neighbour
 * does: each must see four of the nine values of a kernel or more.
 */
template <class Tiles> static bool winogradFits(const ConvSizes& s, const Tiles& tiles) {
  return s.kernelHeight == 3 && s.kernelWidth == 3 && s.strideHeight == 1 && s.strideWidth == 1 &&
         s.dilationHeight == 1 && s.dilationWidth == 1 && s.groups == 1 && s.inHeight >= 3 &&
         s.inWidth >= 3 && tiles.height >= 3 && tiles.width >= 3 && tiles.top >= -1 && tiles.left >= -1 &&
         tiles.filled() > 0.5;
}

}  // namespace LOWBIT_ISA
