#include "simd.h"
#include "src/kernels/matmul/matmul.cc"

namespace LOWBIT_ISA {

/* What a 32-bit word of a tile (src/kernels/tilePack) holds of one row. */
template <int qtype> constexpr int qmatmulBits = qtype == QINT2 ? 2 : qtype == QINT4 ? 4 : 8;
template <int qtype> constexpr int qmatmulCodes = 32 / qmatmulBits<qtype>;
template <int qtype> constexpr bool qmatmulAffine = qtype == QINT2 || qtype == QINT4;

/* Code j of each lane's word, as a float. */
template <int qtype> INLINE f32v qmatmulDecode(u32v word, int j) {
  constexpr int bits = qmatmulBits<qtype>;
  int shift = 8 * (j % 4) + bits * (j / 4);
  if constexpr (qtype == QINT8) return convert((i32v)(word << (24 - shift)) >> 24);
  if constexpr (qtype >= QFLOAT8_E4M3FN) return decodeSmall<qtype - QFLOAT8_E4M3FN + FLOAT8_E4M3FN, f32v>((word >> shift) & 0xffu);
#if LANES == 16
  /* The table look-up reads the low four bits of each lane and ignores the rest. */
  if constexpr (qtype == QINT4) {
    const f32v integers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return _mm512_permutexvar_ps((__m512i)(word >> shift), integers);
  }
#endif
  return convert((i32v)((word >> shift) & ((1u << bits) - 1)));
}

/* Tile-packed weights W [N, K] with their scales (and shifts) per row and group. */
struct QmatmulWeights {
  const uint8_t* codes;
  const float* scale;
  const float* shift;
  int32_t K, groupSize, groups;
};

/* The words of rows n to n + LANES - 1 (n a multiple of LANES) whose first code is column k, one row a lane. */
template <int qtype> INLINE u32v qmatmulWords(const QmatmulWeights& w, int32_t n, int32_t k) {
  constexpr int codes = qmatmulCodes<qtype>;
  size_t wordsPerRow = (w.K + codes - 1) / codes;
  return loadAs<u32v>(w.codes + ((n / 16 * wordsPerRow + k / codes) * 16 + n % 16) * 4);
}

/* Scale or shift of the same rows for one group. */
INLINE f32v qmatmulFactors(const float* tiles, const QmatmulWeights& w, int32_t n, int32_t group) {
  return tiles ? load(tiles + ((size_t)(n / 16) * w.groups + group) * 16 + n % 16) : f32v{};
}

/* The column behind the last of k's group. */
INLINE int32_t qmatmulGroupEnd(const QmatmulWeights& w, int32_t group) {
  int64_t end = ((int64_t)group + 1) * w.groupSize;
  return end < w.K ? (int32_t)end : w.K;
}

/* fill of multiplyPanels: W[n .., k ..] dequantized and transposed. */
template <int qtype> static void qmatmulFill(const QmatmulWeights& w, float* panel, int32_t n, int32_t k, int32_t depth, int32_t N) {
  constexpr int codes = qmatmulCodes<qtype>;
  for (int32_t c = 0; c < PANEL_COLS && n + c < N; c += LANES) {
    for (int32_t i = 0; i < depth;) {
      int32_t group = (k + i) / w.groupSize;
      int32_t groupEnd = qmatmulGroupEnd(w, group) - k, end = groupEnd < depth ? groupEnd : depth;
      f32v scale = qmatmulFactors(w.scale, w, n + c, group), shift = qmatmulFactors(w.shift, w, n + c, group);
      /* The last word may reach past depth: PANEL_DEPTH is a whole number of words, so its codes have a place. */
      for (; i < end; i += codes) {
        u32v word = qmatmulWords<qtype>(w, n + c, k + i);
#pragma GCC unroll 16
        for (int j = 0; j < codes; j++) {
          f32v q = qmatmulDecode<qtype>(word, j);
          store(panel + (i + j) * PANEL_COLS + c, qmatmulAffine<qtype> ? fma(q, scale, -shift) : q * scale);
        }
      }
    }
  }
}

/* Up to four rows of x against LANES rows of W, which lie in lanes; x is broadcast, weights are decoded straight into the sums. */
template <int qtype, int rows>
static void qmatmulLanes(const QmatmulWeights& w, const float* x, const float* bias, float* y, int32_t n, int32_t N) {
  constexpr int codes = qmatmulCodes<qtype>;
  /* Enough independent sums to hide the latency of an addition. */
  constexpr int chains = 4 / rows;
  f32v totals[rows];
  for (int r = 0; r < rows; r++) totals[r] = bias ? loadUpTo(bias + n, N - n) : f32v{};
  for (int32_t k = 0; k < w.K;) {
    /* A group, or a stretch of a long one, so that rounding does not grow with K. */
    int32_t group = k / w.groupSize;
    int32_t groupEnd = qmatmulGroupEnd(w, group), end = groupEnd - k > 256 ? k + 256 : groupEnd;
    f32v scale = qmatmulFactors(w.scale, w, n, group), shift = qmatmulFactors(w.shift, w, n, group);
    f32v sums[rows][chains] = {};
    auto add = [&](u32v word, int j, const float* column) __attribute__((always_inline)) {
      f32v q = qmatmulDecode<qtype>(word, j);
      if constexpr (qmatmulAffine<qtype>) q = fma(q, scale, -shift);
#pragma GCC unroll 4
      for (int r = 0; r < rows; r++) sums[r][j % chains] = fma(q, splat(column[(size_t)r * w.K]), sums[r][j % chains]);
    };
    for (; k + codes <= end; k += codes) {
      u32v word = qmatmulWords<qtype>(w, n, k);
#pragma GCC unroll 16
      for (int j = 0; j < codes; j++) add(word, j, x + k + j);
    }
    if (k < end) {
      u32v word = qmatmulWords<qtype>(w, n, k);
#pragma GCC unroll 16
      for (int j = 0; j < codes; j++) if (k + j < end) add(word, j, x + k + j);
      k = end;
    }
    for (int r = 0; r < rows; r++) {
      f32v sum = sums[r][0];
      for (int c = 1; c < chains; c++) sum += sums[r][c];
      totals[r] = qmatmulAffine<qtype> ? totals[r] + sum : fma(sum, scale, totals[r]);
    }
  }
  for (int r = 0; r < rows; r++) storeUpTo(y + (size_t)r * N + n, totals[r], N - n);
}

template <int qtype, int rows>
static void qmatmulFewRows(const QmatmulWeights& w, const float* x, const float* bias, float* y, int32_t N) {
  /* A quarter of a million weights take some 20 microseconds. */
  int32_t tileRows = (N + 15) / 16, perTask = 16384 / w.K + 1;
  parallelFor((tileRows + perTask - 1) / perTask, [&](int32_t task) {
    int32_t first = task * perTask * 16, last = first + perTask * 16;
    for (int32_t n = first; n < last && n < N; n += LANES) qmatmulLanes<qtype, rows>(w, x, bias, y, n, N);
  });
}

template <int qtype>
static void qmatmulOf(const QmatmulWeights& w, const float* x, const float* bias, float* y, int32_t M, int32_t N) {
  if (M == 1) return qmatmulFewRows<qtype, 1>(w, x, bias, y, N);
  if (M == 2) return qmatmulFewRows<qtype, 2>(w, x, bias, y, N);
  /* On narrower vectors broadcasting x costs more than a panel from the third row on. */
  if constexpr (LANES == 16) {
    if (M == 3) return qmatmulFewRows<qtype, 3>(w, x, bias, y, N);
    if (M == 4) return qmatmulFewRows<qtype, 4>(w, x, bias, y, N);
  }
  multiplyPanels(x, bias, y, M, N, w.K, [&](float* panel, int32_t n, int32_t k, int32_t depth) {
    qmatmulFill<qtype>(w, panel, n, k, depth, N);
  });
}

void qmatmul(const float* x, const uint8_t* codes, int32_t qtype, const float* scale, const float* shift, const float* bias, float* y,
             int32_t M, int32_t N, int32_t K, int32_t groupSize) {
  const QmatmulWeights w = {codes, scale, shift, K, groupSize, (int32_t)(((int64_t)K + groupSize - 1) / groupSize)};
  switch (qtype) {
    case QINT2: return qmatmulOf<QINT2>(w, x, bias, y, M, N);
    case QINT4: return qmatmulOf<QINT4>(w, x, bias, y, M, N);
    case QINT8: return qmatmulOf<QINT8>(w, x, bias, y, M, N);
    case QFLOAT8_E4M3FN: return qmatmulOf<QFLOAT8_E4M3FN>(w, x, bias, y, M, N);
    case QFLOAT8_E5M2: return qmatmulOf<QFLOAT8_E5M2>(w, x, bias, y, M, N);
    case QFLOAT8_E4M3FNUZ: return qmatmulOf<QFLOAT8_E4M3FNUZ>(w, x, bias, y, M, N);
  }
}

}  // namespace LOWBIT_ISA
