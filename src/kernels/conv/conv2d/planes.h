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

/* Lanes 0, 2, 4 … of two vectors that lie side by side. */
INLINE f32v everySecond(f32v low, f32v high) {
#if LANES == 16
  const __m512i lanes = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  return _mm512_permutex2var_ps(low, lanes, high);
#elif LANES == 8
  return __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14);
#else
  return __builtin_shufflevector(low, high, 0, 2, 4, 6);
#endif
}

/* line[first + i · step] for each lane i, 0 outside of line[0 … count - 1]. */
template <int step> INLINE f32v pixelsAt(const float* line, int32_t first, int32_t count, int32_t anyStep) {
  const float* from = line + first;
  if constexpr (step == 1) return loadBetween(from, -first, count - first);
  if constexpr (step == 2) {
    return everySecond(loadBetween(from, -first, count - first),
                       loadBetween(from + LANES, -first - LANES, count - first - LANES));
  }
  f32v values = {};
  for (int i = 0; i < LANES; i++) {
    const int32_t at = first + i * anyStep;
    if (at >= 0 && at < count) values[i] = line[at];
  }
  return values;
}

/*
 * to [channels, count] with toStride between rows = the pixels that the positions from `at` on meet, of so
 * many channels from `channel` on; 0 outside the plane.
 */
static void gatherChannels(const Planes<const float>& x, int32_t channel, int32_t channels, const Grid& grid,
                           Position at, int32_t count, float* to, size_t toStride) {
  const size_t plane = (size_t)x.height * x.width;
  while (count > 0) {
    const int32_t run = grid.cols - at.col < count ? grid.cols - at.col : count;
    const int32_t row = at.row * grid.rowStep + grid.rowOffset, step = grid.colStep;
    const bool inside = row >= 0 && row < x.height;
    const float* const line = x.plane(at.sample, channel) + (inside ? (size_t)row * x.width : 0);
    for (int32_t i = 0; i < run; i += LANES) {
      const int32_t col = (at.col + i) * step + grid.colOffset, width = inside ? x.width : 0;
      /* What passes the end of a run is written again by the next one. */
      const auto each = [&](auto pixels) {
        for (int32_t c = 0; c < channels; c++)
          storeUpTo(to + c * toStride + i, pixels(line + c * plane), count - i);
      };
      if (step == 1) each([=](const float* from) { return pixelsAt<1>(from, col, width, 1); });
      else if (step == 2) each([=](const float* from) { return pixelsAt<2>(from, col, width, 2); });
      else each([=](const float* from) { return pixelsAt<0>(from, col, width, step); });
    }
    to += run;
    count -= run;
    at.advance(grid, run);
  }
}

/*
 * to [depth, count] = rows k to k + depth of the windows [inChannels · kernel, positions] of a group that
 * begins at `channel`, for the positions from `at` on.
 */
static void gatherWindows(const Planes<const float>& x, int32_t channel, const ConvSizes& s, int32_t k,
                          int32_t depth, const Grid& grid, const Position& at, int32_t count, float* to,
                          size_t toStride) {
  const int32_t taps = s.kernelHeight * s.kernelWidth;
  for (int32_t tap = 0; tap < taps; tap++) {
    const int32_t first = ceilDivide(k - tap, taps), last = ceilDivide(k + depth - tap, taps);
    const Grid seen = grid.at(tap / s.kernelWidth * s.dilationHeight - s.paddingHeight,
                              tap % s.kernelWidth * s.dilationWidth - s.paddingWidth);
    gatherChannels(x, channel + first, last - first, seen, at, count,
                   to + (first * taps + tap - k) * toStride, taps * toStride);
  }
}

#if LANES == 8
/*
 * The tile [count, rows] of a block that has the rows k to k + rows of such windows, interleaved as they are
 * gathered; behind the last row is that one again.
 */
static void gatherTile(const Planes<const float>& x, int32_t channel, const ConvSizes& s, int32_t k,
                       int32_t rows, const Grid& grid, Position at, int32_t count, float* to) {
  const int32_t taps = s.kernelHeight * s.kernelWidth, step = grid.colStep;
  const float* planes[TILE_ROWS];
  int32_t rowOffset[TILE_ROWS], colOffset[TILE_ROWS];
  for (int r = 0; r < TILE_ROWS; r++) {
    const int32_t row = k + (r < rows ? r : rows - 1), tap = row % taps;
    planes[r] = x.plane(0, channel + row / taps);
    rowOffset[r] = tap / s.kernelWidth * s.dilationHeight - s.paddingHeight;
    colOffset[r] = tap % s.kernelWidth * s.dilationWidth - s.paddingWidth;
  }
  while (count > 0) {
    const int32_t run = grid.cols - at.col < count ? grid.cols - at.col : count;
    const float* lines[TILE_ROWS];
    int32_t widths[TILE_ROWS];
    for (int r = 0; r < TILE_ROWS; r++) {
      const int32_t row = at.row * grid.rowStep + rowOffset[r];
      const bool inside = row >= 0 && row < x.height;
      lines[r] = planes[r] + (x.plane(at.sample, 0) - x.values) + (inside ? (size_t)row * x.width : 0);
      /* Each row is a channel of its own, and those of the next tile have not been read. */
      for (int32_t c = 0; taps == 1 && c < run * step; c += 16)
        __builtin_prefetch(lines[r] + (size_t)TILE_ROWS * x.height * x.width + at.col * step + c);
      widths[r] = inside ? x.width : 0;
    }
    for (int32_t i = 0; i < run; i += LANES) {
      f32v columns[TILE_ROWS];
      const int32_t col = (at.col + i) * step;
      /* What passes the end of a run is written again by the next one, or the next tile. */
      const auto all = [&](auto constant) {
#pragma GCC unroll 6
        for (int r = 0; r < TILE_ROWS; r++)
          columns[r] = pixelsAt<decltype(constant)::value>(lines[r], col + colOffset[r], widths[r], step);
        interleaveColumns(columns, to + i * TILE_ROWS);
      };
      if (step == 1) all(Constant<1>{});
      else if (step == 2) all(Constant<2>{});
      else all(Constant<0>{});
    }
    to += run * TILE_ROWS;
    count -= run;
    at.advance(grid, run);
  }
}
#endif

/*
 * The rows of a block: k to k + rows of the windows of a group that begins at `channel`, for `depth`
 * positions from `at` on. Whole vectors are written, so that something may lie behind the last row.
 */
static void gatherRows(const Planes<const float>& x, int32_t channel, const ConvSizes& s, int32_t k,
                       int32_t rows, const Grid& grid, const Position& at, int32_t depth, float* to) {
#if LANES == 8
  eachBlockTile(rows, depth, to, [&](int32_t r, int32_t count, float* to) {
    gatherTile(x, channel, s, k + r, count, grid, at, depth, to);
  });
#else
  gatherWindows(x, channel, s, k, rows, grid, at, depth, to, TILE_STRIDE);
#endif
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
        int32_t i = 0;
#if LANES == 16
        for (; grid.colStep == 2 && i < run; i += 8) {
          const __mmask16 places = (__mmask16)(run - i < 8 ? 0x5555 & ((1 << 2 * (run - i)) - 1) : 0x5555);
          f32v before = k > 0 ? _mm512_maskz_loadu_ps(places, to + 2 * i) : splat(start);
          f32v sum = before + _mm512_maskz_expand_ps(0x5555, loadUpTo(from + i, run - i));
          _mm512_mask_storeu_ps(to + 2 * i, places, sum);
        }
#endif
        for (; i < run; i++) to[i * grid.colStep] = (k > 0 ? to[i * grid.colStep] : start) + from[i];
      }
    }
    done += run;
    if (dense) at = {grid, (at.sample + 1) * grid.rows * grid.cols}, left = grid.rows * grid.cols;
    else at.advance(grid, run);
  }
}

}  // namespace LOWBIT_ISA
