#include "panel.h"
#include "../qmatmul/weights.h"

namespace LOWBIT_ISA {

/* The words of a run, one row a lane. */
template <int qtype> struct QmatmulRun {
  u32v words[TileRun<qtype>::words];
};

template <int qtype> INLINE QmatmulRun<qtype> qmatmulRun(const TiledWeights& w, int32_t n, int32_t k) {
  QmatmulRun<qtype> run;
  const uint8_t* from = tileRun<qtype>(w, n, k);
  for (int i = 0; i < TileRun<qtype>::words; i++) run.words[i] = loadAs<u32v>(from + i * 64);
  return run;
}

/* Code j of each lane's run, as a float. */
template <int qtype> INLINE f32v qmatmulDecode(const QmatmulRun<qtype>& run, int j) {
  constexpr int bits = TileRun<qtype>::bits;
  if constexpr (bits == 5) {
    u32v low = (run.words[j / 8] >> (8 * (j % 4) + 4 * (j / 4 % 2))) & 15u;
    u32v high = (run.words[4] >> (8 * (j % 4) + j / 4)) & 1u;
    return convert((i32v)(low | high << 4));
  }
  u32v word = run.words[0];
  int shift = 8 * (j % 4) + bits * (j / 4);
  if constexpr (qtype == QINT8) return convert((i32v)(word << (24 - shift)) >> 24);
  if constexpr (float8Of(qtype) >= 0) return decodeSmall<float8Of(qtype), f32v>((word >> shift) & 0xffu);
#if LANES == 16
  /* The table look-up reads the low four bits of each lane and ignores the rest. */
  if constexpr (qtype == QINT4) {
    const f32v integers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return _mm512_permutexvar_ps((__m512i)(word >> shift), integers);
  }
#endif
  return convert((i32v)((word >> shift) & ((1u << bits) - 1)));
}

/* fill of multiplyPanels: W[n .., k ..] dequantized and transposed. */
template <int qtype> static void qmatmulFill(const TiledWeights& w, float* panel, int32_t n, int32_t cols, int32_t k, int32_t depth) {
  constexpr int codes = TileRun<qtype>::columns;
  for (int32_t c = 0; c < cols; c += LANES) {
    for (int32_t i = 0; i < depth;) {
      int32_t group = (k + i) / w.groupSize;
      int32_t last = groupEnd(group, w.groupSize, w.K) - k, end = last < depth ? last : depth;
      f32v scale = tileScale(w, n + c, group), shift = tileShift(w, n + c, group, scale);
      /*
       * The last run may reach past depth: PANEL_DEPTH is a whole number of runs, so its codes have a place.
       */
      for (; i < end; i += codes) {
        QmatmulRun<qtype> run = qmatmulRun<qtype>(w, n + c, k + i);
#pragma GCC unroll 16
        for (int j = 0; j < codes; j++) {
          f32v q = qmatmulDecode<qtype>(run, j);
          store(panel + (i + j) * PANEL_COLS + c, isAffine<qtype> ? fma(q, scale, -shift) : q * scale);
        }
      }
    }
  }
}

/*
 * Up to four rows of x against LANES rows of W, which lie in lanes; x is broadcast, weights are decoded
 * straight into the sums.
 */
template <int qtype, int rows>
static void qmatmulLanes(const TiledWeights& w, const float* x, const float* bias, float* y, int32_t n, int32_t N) {
  constexpr int codes = TileRun<qtype>::columns;
  /* Enough independent sums to hide the latency of an addition. */
  constexpr int chains = 4 / rows;
  f32v totals[rows];
  for (int r = 0; r < rows; r++) totals[r] = bias ? loadUpTo(bias + n, N - n) : f32v{};
  for (int32_t k = 0; k < w.K;) {
    /* A group, or a stretch of a long one, so that rounding does not grow with K. */
    int32_t group = k / w.groupSize;
    int32_t last = groupEnd(group, w.groupSize, w.K), end = last - k > 256 ? k + 256 : last;
    f32v scale = tileScale(w, n, group), shift = tileShift(w, n, group, scale);
    f32v sums[rows][chains] = {};
    auto add = [&](const QmatmulRun<qtype>& run, int j, const float* column) __attribute__((always_inline)) {
      f32v q = qmatmulDecode<qtype>(run, j);
      if constexpr (isAffine<qtype>) q = fma(q, scale, -shift);
#pragma GCC unroll 4
      for (int r = 0; r < rows; r++) sums[r][j % chains] = fma(q, splat(column[(size_t)r * w.K]), sums[r][j % chains]);
    };
    for (; k + codes <= end; k += codes) {
      QmatmulRun<qtype> run = qmatmulRun<qtype>(w, n, k);
#pragma GCC unroll 16
      for (int j = 0; j < codes; j++) add(run, j, x + k + j);
    }
    if (k < end) {
      QmatmulRun<qtype> run = qmatmulRun<qtype>(w, n, k);
#pragma GCC unroll 16
      for (int j = 0; j < codes; j++) if (k + j < end) add(run, j, x + k + j);
      k = end;
    }
    for (int r = 0; r < rows; r++) {
      f32v sum = sums[r][0];
      for (int c = 1; c < chains; c++) sum += sums[r][c];
      totals[r] = isAffine<qtype> ? totals[r] + sum : fma(sum, scale, totals[r]);
    }
  }
  for (int r = 0; r < rows; r++) storeUpTo(y + (size_t)r * N + n, totals[r], N - n);
}

template <int qtype, int rows>
static void qmatmulFewRows(const TiledWeights& w, const float* x, const float* bias, float* y, int32_t N) {
  /* A quarter of a million weights take some 20 microseconds. */
  int32_t tileRows = (N + 15) / 16, perTask = 16384 / w.K + 1;
  parallelFor((tileRows + perTask - 1) / perTask, [&](int32_t task) {
    int32_t first = task * perTask * 16, last = first + perTask * 16;
    for (int32_t n = first; n < last && n < N; n += LANES) qmatmulLanes<qtype, rows>(w, x, bias, y, n, N);
  });
}

template <int qtype>
static void qmatmulOf(const TiledWeights& w, const float* x, const float* bias, float* y, int32_t M, int32_t N) {
  if (M == 1) return qmatmulFewRows<qtype, 1>(w, x, bias, y, N);
  if (M == 2) return qmatmulFewRows<qtype, 2>(w, x, bias, y, N);
  /* On narrower vectors broadcasting x costs more than a panel from the third row on. */
  if constexpr (LANES == 16) {
    if (M == 3) return qmatmulFewRows<qtype, 3>(w, x, bias, y, N);
    if (M == 4) return qmatmulFewRows<qtype, 4>(w, x, bias, y, N);
  }
  multiplyPanels(x, bias, y, M, N, w.K, [&](float* panel, int32_t n, int32_t cols, int32_t k, int32_t depth) {
    qmatmulFill<qtype>(w, panel, n, cols, k, depth);
  });
}

void qmatmul(const float* x, const uint8_t* codes, int32_t qtype, const void* scale, const void* offset, int32_t scaleDtype,
             int32_t offsetDtype, const float* bias, float* y, int32_t M, int32_t N, int32_t K, int32_t groupSize) {
  const TiledWeights w = tiledWeights(codes, scale, offset, scaleDtype, offsetDtype, K, groupSize);
  switch (qtype) {
    case QINT2: return qmatmulOf<QINT2>(w, x, bias, y, M, N);
    case QINT4: return qmatmulOf<QINT4>(w, x, bias, y, M, N);
    case QINT5: return qmatmulOf<QINT5>(w, x, bias, y, M, N);
    case QINT8: return qmatmulOf<QINT8>(w, x, bias, y, M, N);
    case QFLOAT8_E4M3FN: return qmatmulOf<QFLOAT8_E4M3FN>(w, x, bias, y, M, N);
    case QFLOAT8_E5M2: return qmatmulOf<QFLOAT8_E5M2>(w, x, bias, y, M, N);
    case QFLOAT8_E4M3FNUZ: return qmatmulOf<QFLOAT8_E4M3FNUZ>(w, x, bias, y, M, N);
  }
}

}  // namespace LOWBIT_ISA
