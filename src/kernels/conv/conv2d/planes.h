#pragma once
#include "panel.h"

namespace LOWBIT_ISA {

/* src/kernels/conv/conv2d/sizes.ts */
struct ConvSizes {
  int32_t batch, inChannels, inHeight, inWidth, outChannels, outHeight, outWidth, kernelHeight, kernelWidth;
  int32_t strideHeight, strideWidth, paddingHeight, paddingWidth, dilationHeight, dilationWidth, groups;
};

/* [batch, channels, height, width] */
template <class T> struct Planes {
  T* values;
  int32_t channels, height, width;

  T* plane(int32_t sample, int32_t channel) const {
    return values + ((size_t)sample * channels + channel) * height * width;
  }
};

/*
 * The columns of a convolution's product are the positions of a grid, in the order sample, row, column.
 * Position (row, col) meets pixel (row · rowStep + rowOffset, col · colStep + colOffset) of some planes.
 * Windows are never laid out: a panel of columns is gathered from the image when it is multiplied. The
 * gradient by the input is cut into stride × stride phases, so that no zero between the pixels is multiplied;
 * it is also the transposed convolution.
 */
struct Grid {
  int32_t rows, cols, rowStep, colStep, rowOffset, colOffset;

  Grid at(int32_t newRowOffset, int32_t newColOffset) const {
    return {rows, cols, rowStep, colStep, newRowOffset, newColOffset};
  }
};

struct Position {
  int32_t sample, row, col;

  Position(const Grid& grid, int32_t index)
      : sample(index / (grid.rows * grid.cols)), row(index / grid.cols % grid.rows), col(index % grid.cols) {}

  /* On by so many columns, at most to the next row. */
  void advance(const Grid& grid, int32_t count) {
    col += count;
    if (col < grid.cols) return;
    col = 0;
    if (++row < grid.rows) return;
    row = 0;
    sample++;
  }
};

/*
 * to [count] = the pixels of one channel that the positions from `at` on meet, 0 outside the plane; whole
 * vectors are written.
 */
static void gatherPixels(const Planes<const float>& x, int32_t channel, const Grid& grid, Position at,
                         int32_t count, float* to) {
  while (count > 0) {
    int32_t run = grid.cols - at.col < count ? grid.cols - at.col : count;
    int32_t row = at.row * grid.rowStep + grid.rowOffset;
    if (row < 0 || row >= x.height) {
      for (int32_t i = 0; i < run; i += LANES) store(to + i, f32v{});
    } else {
      const float* line = x.plane(at.sample, channel) + (size_t)row * x.width;
      int32_t col = at.col * grid.colStep + grid.colOffset;
      if (grid.colStep == 1) {
        for (int32_t i = 0; i < run; i += LANES)
          store(to + i, loadBetween(line + col + i, -(col + i), x.width - (col + i)));
      } else {
        for (int32_t i = 0; i < run; i++, col += grid.colStep)
          to[i] = col >= 0 && col < x.width ? line[col] : 0;
      }
    }
    to += run;
    count -= run;
    at.advance(grid, run);
  }
}

/* One per thread: what a block makes of a panel, where it cannot go to its place at once. */
struct ConvTile {
  alignas(64) float values[BLOCK_ROWS * PANEL_COLS];
};

/*
 * Places the product of a block and a panel: channels `first` to first + rows of y, positions from `at` on.
 * For k = 0 it is the first part of the sum, and a bias by channel is added.
 */
template <class Multiply>
static void placePixels(const Planes<float>& y, int32_t first, int32_t rows, const Grid& grid, Position at,
                        int32_t cols, int32_t k, const float* bias, const Multiply& multiply) {
  size_t plane = (size_t)y.height * y.width;
  bool dense = grid.rowStep == 1 && grid.colStep == 1 && grid.rows == y.height && grid.cols == y.width;
  int32_t left = (grid.rows - at.row) * grid.cols - at.col;
  if (dense && cols <= left && (k > 0 || !bias)) {
    float* to = y.plane(at.sample, first) + (size_t)at.row * y.width + at.col;
    return multiply(k > 0 ? to : nullptr, plane, to, plane);
  }
  float* tile = scratchHere<ConvTile>().values;
  multiply(nullptr, 0, tile, PANEL_COLS);
  for (int32_t done = 0; done < cols;) {
    int32_t run = dense ? left : grid.cols - at.col;
    if (run > cols - done) run = cols - done;
    float* to = y.plane(at.sample, first) + (size_t)(at.row * grid.rowStep + grid.rowOffset) * y.width +
                at.col * grid.colStep + grid.colOffset;
    for (int32_t r = 0; r < rows; r++, to += plane) {
      const float* from = tile + r * PANEL_COLS + done;
      float start = bias && k == 0 ? bias[first + r] : 0;
      if (grid.colStep == 1) {
        for (int32_t i = 0; i < run; i += LANES) {
          f32v before = k > 0 ? loadUpTo(to + i, run - i) : splat(start);
          storeUpTo(to + i, before + loadUpTo(from + i, run - i), run - i);
        }
      } else {
        for (int32_t i = 0; i < run; i++)
          to[i * grid.colStep] = (k > 0 ? to[i * grid.colStep] : start) + from[i];
      }
    }
    done += run;
    if (dense) at = {grid, (at.sample + 1) * grid.rows * grid.cols}, left = grid.rows * grid.cols;
    else at.advance(grid, run);
  }
}

}  // namespace LOWBIT_ISA
