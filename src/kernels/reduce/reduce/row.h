#pragma once
#include "simd.h"

/* What every kernel that works row by row is made of. */

namespace LOWBIT_ISA {

/* Values per task. */
constexpr int32_t rowPiece = 1 << 14;

/* body(row) for every row, several short rows a task. */
template <class Body> INLINE void eachRow(int32_t rows, int32_t cols, Body body) {
  int32_t rowsPerTask = cols < rowPiece ? rowPiece / (cols < 1 ? 1 : cols) : 1;
  parallelFor((int32_t)(((int64_t)rows + rowsPerTask - 1) / rowsPerTask), [&](int32_t task) {
    int32_t first = task * rowsPerTask;
    int32_t last = rows - first < rowsPerTask ? rows : first + rowsPerTask;
    for (int32_t r = first; r < last; r++) body(r);
  });
}

/* Half a vector of float32, which is a whole one of float64. */
constexpr int HALF = LANES / 2;
typedef float f32h __attribute__((vector_size(HALF * 4)));
typedef double f64v __attribute__((vector_size(HALF * 8)));

/* HALF values from p on, as float64. */
INLINE f64v widen(const float* p) { return __builtin_convertvector(loadAs<f32h>(p), f64v); }

INLINE double sumOf(f64v v) {
  double sum = 0;
  for (int i = 0; i < HALF; i++) sum += v[i];
  return sum;
}

/* Σ f(x[c]) in float64; f takes float64, alone and as vectors. */
template <class F> INLINE double rowSum(const float* x, int32_t cols, F f) {
  /* Four chains, because an addition takes four cycles. */
  f64v sums[4] = {};
  int32_t c = 0;
  for (; c <= cols - 4 * HALF; c += 4 * HALF) {
    for (int k = 0; k < 4; k++) sums[k] += f(widen(x + c + k * HALF));
  }
  for (; c <= cols - HALF; c += HALF) sums[0] += f(widen(x + c));
  double sum = sumOf((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; c < cols; c++) sum += f((double)x[c]);
  return sum;
}

/* Σ a[c]·b[c] in float64. */
INLINE double rowDot(const float* a, const float* b, int32_t cols) {
  f64v sums[2] = {};
  int32_t c = 0;
  for (; c <= cols - 2 * HALF; c += 2 * HALF) {
    for (int k = 0; k < 2; k++) sums[k] += widen(a + c + k * HALF) * widen(b + c + k * HALF);
  }
  double sum = sumOf(sums[0] + sums[1]);
  for (; c < cols; c++) sum += (double)a[c] * b[c];
  return sum;
}

/* A sum of vectors of float32, kept in float64. */
struct WideSum {
  f64v sums[2] = {};
  void add(f32v v) {
    float values[LANES];
    store(values, v);
    sums[0] += widen(values);
    sums[1] += widen(values + HALF);
  }
  double total() const { return sumOf(sums[0] + sums[1]); }
};

/* Integers in the order of the floats x, with -0 below +0 and any NaN on top; floatOfRank undoes it. */
INLINE i32v rankOf(f32v x) {
  i32v bits = (i32v)x;
  return select(x != x, splat((int32_t)0x7fffffff), bits ^ ((bits >> 31) & 0x7fffffff));
}
INLINE float floatOfRank(int32_t rank) { return floatOf((uint32_t)(rank ^ ((rank >> 31) & 0x7fffffff))); }

/*
 * The largest of cols values, NaN if there is one; values(c, n) gives a vector of those from c on, of which n
 * count.
 */
template <class Values> INLINE float rowMax(int32_t cols, Values values) {
  i32v best = splat(INT32_MIN);
  int32_t c = 0;
  for (; c <= cols - LANES; c += LANES) best = max(best, rankOf(values(c, LANES)));
  if (c < cols) {
    i32v rank = rankOf(values(c, cols - c));
    for (int i = 0; i < cols - c; i++) best[i] = rank[i] > best[i] ? rank[i] : best[i];
  }
  return floatOfRank(max(best));
}

/* The largest |x| likewise: without signs floats are ordered as their bits are. What does not count is 0. */
template <class Values> INLINE float rowAbsMax(int32_t cols, Values values) {
  i32v best = {};
  int32_t c = 0;
  for (; c <= cols - LANES; c += LANES) best = max(best, (i32v)abs(values(c, LANES)));
  if (c < cols) best = max(best, (i32v)abs(values(c, cols - c)));
  return floatOf((uint32_t)max(best));
}

/* The ends of a row's values, both NaN if there is one. */
struct RowRange {
  float least, most;
};

/* The smallest and the largest of cols values at once, as rowMax. */
template <class Values> INLINE RowRange rowRange(int32_t cols, Values values) {
  i32v low = splat(INT32_MAX), high = splat(INT32_MIN);
  int32_t c = 0;
  for (; c <= cols - LANES; c += LANES) {
    i32v rank = rankOf(values(c, LANES));
    low = min(low, rank);
    high = max(high, rank);
  }
  if (c < cols) {
    i32v rank = rankOf(values(c, cols - c));
    for (int i = 0; i < cols - c; i++) {
      low[i] = rank[i] < low[i] ? rank[i] : low[i];
      high[i] = rank[i] > high[i] ? rank[i] : high[i];
    }
  }
  float most = floatOfRank(max(high));
  return {most == most ? floatOfRank(min(low)) : most, most};
}

INLINE float rowMax(const float* x, int32_t cols) {
  return rowMax(cols, [&](int32_t c, int32_t n) { return n == LANES ? load(x + c) : loadPartial(x + c, n); });
}

/* Σ e^(x - max) in float64; each(c, n, e) gets the exponentials of the n columns from c on. */
template <class Each> INLINE double rowExpSum(const float* x, int32_t cols, float max, Each each) {
  WideSum wide;
  int32_t c = 0;
  for (; c <= cols - LANES; c += LANES) {
    f32v e = expOfNegative(load(x + c) - max);
    wide.add(e);
    each(c, LANES, e);
  }
  double sum = wide.total();
  if (c < cols) {
    f32v e = expOfNegative(loadPartial(x + c, cols - c) - max);
    for (int i = 0; i < cols - c; i++) sum += e[i];
    each(c, cols - c, e);
  }
  return sum;
}

}  // namespace LOWBIT_ISA
