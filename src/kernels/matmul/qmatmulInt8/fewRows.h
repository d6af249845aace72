#pragma once
#include "oneRow.h"

/* A few rows of x: codes are decoded in registers and multiplied by all rows, so that no panel is made. */

namespace LOWBIT_ISA {

#if LANES == 16

/* Rows of x in one block, and in all. */
constexpr int INT8_FEW = 8, INT8_MOST_FEW = 16;
constexpr int32_t INT8_FEW_COLUMNS = 16384, INT8_FEW_GROUPS = 512;

/* Rows side by side, block after block: four columns of each row, and the scales and sums of each group. */
struct Int8Few {
  alignas(64) uint8_t codes[INT8_MOST_FEW * INT8_FEW_COLUMNS];
  float scale[INT8_MOST_FEW * INT8_FEW_GROUPS], sum[INT8_MOST_FEW * INT8_FEW_GROUPS];
};

/* One block of them, `rows` side by side. */
struct Int8FewBlock {
  const uint8_t* codes;
  const float *scale, *sum;
};

/*
 * The rows m … m + rows - 1 of x to place `at` of the scratch, and the zeros behind them; where x has none,
 * the last one again.
 */
static Int8FewBlock int8Interleave(Int8Few& few, int32_t at, const ByteRows& x, int32_t m, int32_t M,
                                   int32_t rows, int32_t K) {
  uint8_t* codes = few.codes + (size_t)at * INT8_FEW_COLUMNS;
  float *scale = few.scale + at * INT8_FEW_GROUPS, *sum = few.sum + at * INT8_FEW_GROUPS;
  for (int32_t r = 0; r < rows; r++) {
    const size_t row = m + r < M ? m + r : M - 1;
    const uint8_t* from = x.codes + row * x.stride;
    for (int32_t k = 0; k < ceilDivide(K, 16) * 16; k += 4)
      __builtin_memcpy(codes + k * rows + 4 * r, from + k, 4);
    for (int32_t g = 0; g < x.groups; g++) {
      scale[g * rows + r] = x.scale[row * x.groups + g];
      sum[g * rows + r] = x.sum[row * x.groups + g];
    }
  }
  return {codes, scale, sum};
}

/* y [count, 16] of the first rows of a block, columns n … n + 15; w is read from front to back. */
template <int qtype, int rows>
static void int8TileRows(const TiledWeights& w, const Int8FewBlock& block, int32_t xGroupSize, int32_t xGroups,
                         int32_t count, const float* bias, float* y, int32_t n, int32_t N) {
  using Run = TileRun<qtype>;
  f32v totals[rows] = {};
  GroupValues<1> groups{n, w.groups};
  const bool zeroPoints = hasZeroPoints(w);
  const uint8_t *run = tileRun<qtype>(w, n, 0), *values = block.codes;
  const float *xScale = block.scale, *xSum = block.sum;
  int32_t k = 0;
  for (int32_t g = 0; g < xGroups; g++, xScale += rows, xSum += rows) {
    const int32_t end = groupEnd(g, xGroupSize, w.K);
    const int place = groupPlace(w, groups, k / w.groupSize);
    i32v sums[rows];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) sums[r] = int8Start<operandOffset<qtype>>(xSum[r]);
    for (; k < end; k += Run::piece, values += Run::piece * rows) {
      withPiece<qtype>(k, [&](auto first) __attribute__((always_inline)) {
        constexpr int at = decltype(first)::value;
        if constexpr (at == 0) prefetchBehind<qtype>(run);
#pragma GCC unroll 4
        for (int j = 0; j < Run::piece / 4; j++) {
          u32v codes = int8Quad<qtype>(run, at / 4 + j, 64);
#pragma GCC unroll 8
          for (int r = 0; r < rows; r++)
            sums[r] = int8Dot<isBytes<qtype>>(sums[r], codes, int8Splat(values + (j * rows + r) * 4));
        }
        if constexpr (at + Run::piece == Run::columns) run += 64 * Run::words;
      });
    }
    k = end;
    const f32v scale = groups.scales[place][0], shift = groupShift(zeroPoints, scale, groups.offsets[place][0]);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
      totals[r] = int8Combine<isAffine<qtype>>(totals[r], sums[r], xScale[r], xSum[r], scale, shift);
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
    if (r >= count) break;
    if (bias) totals[r] += loadUpTo(bias + n, N - n);
    storeUpTo(y + (size_t)r * N + n, totals[r], N - n);
  }
}

/* int8TileRows with the number of rows as a constant, an even one. */
template <int qtype, int rows, class... Args>
INLINE void int8TileRowsOf(int32_t count, Args&&... args) {
  if constexpr (rows > 2) {
    if (count <= rows - 2) return int8TileRowsOf<qtype, rows - 2>(count, args...);
  }
  int8TileRows<qtype, rows>(args...);
}

/* Whether M rows are few, and their product then. */
template <int qtype>
static bool int8FewRows(const TiledWeights& w, const ByteRows& x, const float* bias, float* y, int32_t M,
                        int32_t N) {
  if (M > INT8_MOST_FEW || w.K > INT8_FEW_COLUMNS - 32 || x.groups > INT8_FEW_GROUPS) return false;
  Int8Few& few = scratchHere<Int8Few>();
  Int8FewBlock blocks[INT8_MOST_FEW / INT8_FEW];
  const int32_t count = ceilDivide(M, INT8_FEW), each = ceilDivide(M, count), rows = each + each % 2;
  for (int32_t b = 0; b < count; b++) blocks[b] = int8Interleave(few, b * INT8_FEW, x, b * each, M, rows, w.K);
  const int32_t tileRows = ceilDivide(N, 16), perTask = evenShare(tileRows, 16384 / w.K + 1);
  parallelFor(ceilDivide(tileRows, perTask), [&](int32_t task) {
    for (int32_t t = task * perTask; t < (task + 1) * perTask && t < tileRows; t++) {
      for (int32_t b = 0; b < count; b++) {
        const int32_t m = b * each, own = M - m < each ? M - m : each;
        int8TileRowsOf<qtype, INT8_FEW>(rows, w, blocks[b], x.groupSize, x.groups, own, bias,
                                        y + (size_t)m * N, t * 16, N);
      }
    }
  });
  return true;
}

#endif

}  // namespace LOWBIT_ISA
