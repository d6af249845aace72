#include "../../reduce/reduce/row.h"
#include "panel.h"
#include "../gemm/span.h"
#include "../qmatmul/bfloat16.h"
#include "../qmatmul/decode.h"
#include "../qmatmul/groupValues.h"

namespace LOWBIT_ISA {

/* W[n + c, k + i] dequantized to panel[i · PANEL_COLS + c], for c < cols and i < depth. */
template <int qtype>
static void qmatmulFill(const TiledWeights& w, float* panel, int32_t n, int32_t cols, int32_t k,
                        int32_t depth) {
  constexpr int piece = TileRun<qtype>::piece;
  const bool zeroPoints = hasZeroPoints(w);
  for (int32_t c = 0; c < cols; c += LANES) {
    GroupValues<1> values{n + c, groupOf(w, k + depth - 1) + 1};
    for (int32_t i = 0; i < depth;) {
      int32_t group = (k + i) / w.groupSize;
      int32_t last = groupEnd(group, w.groupSize, w.K) - k, end = last < depth ? last : depth;
      int place = groupPlace(w, values, group);
      f32v scale = values.scales[place][0], shift = groupShift(zeroPoints, scale, values.offsets[place][0]);
      /*
       * The last piece may reach past depth: PANEL_DEPTH is a whole number of pieces, so its codes have a
       * place.
       */
      for (; i < end; i += piece) {
        const uint8_t* from = tileRun<qtype>(w, n + c, k + i);
        QmatmulRun<qtype> run = qmatmulRun<qtype>(from);
        withPiece<qtype>(k + i, [&](auto first) __attribute__((always_inline)) {
          if constexpr (decltype(first)::value == 0) prefetchBehind<qtype>(from);
#pragma GCC unroll 16
          for (int j = 0; j < piece; j++) {
            f32v q = qmatmulDecode<qtype>(run, decltype(first)::value + j);
            store(panel + (i + j) * PANEL_COLS + c, isAffine<qtype> ? fma(q, scale, -shift) : q * scale);
          }
        });
      }
    }
  }
}

/*
 * A few rows of x: over the columns of a group
 *
 *     Σ x·W = scale · Σ x·q − shift · Σ x = scale · (Σ x·q − zeroPoint · Σ x)
 *
 * so that a weight takes one multiplication. Both sums take x in the same order: of weights that are all 0,
 * their codes a zero point of 8, the sum is 0, too. q comes 2^place times as large (decode.h), and x is
 * divided by that beforehand, which is exact.
 */

/* Enough independent sums to hide the latency of an addition: column k belongs to sum k mod so many. */
template <int rows> constexpr int qmatmulChains = rows * 16 / LANES < 4 ? 4 * LANES / 16 / rows : 1;
/* Whether they are of rows of w, columns in lanes (codebookRows). */
template <int qtype, int rows> constexpr bool qmatmulByRows = rows == 1 && isByRows<qtype>;

/*
 * Columns whose sums are kept apart: a group's, but so many at most, so that rounding does not grow with K.
 */
constexpr int32_t QMATMUL_STRETCH = 256;
/* Columns taken at once: x of so many, as it is multiplied, fits the scratch of a thread. */
constexpr int32_t QMATMUL_PASS = 8192;

/* Rows of x over the columns of a pass, divided by 2^place, and their sums over each stretch. */
struct QmatmulRows {
  const float *values, *sums;
  int32_t first, last;
};
/* Between rows of values and of sums; groups begin at multiples of 16. */
constexpr int32_t QMATMUL_STRIDE = QMATMUL_PASS, QMATMUL_SUMS = QMATMUL_PASS / 16 + 1;
static_assert(4 * QMATMUL_STRIDE <= BLOCK_ROWS * TILE_STRIDE, "values fit into the rows of Blocks");
static_assert(4 * QMATMUL_SUMS <= PANEL_DEPTH * PANEL_COLS, "sums fit into its panel");

/* The column behind the stretch that begins with column k. */
INLINE int32_t qmatmulStretchEnd(const TiledWeights& w, const QmatmulRows& x, int32_t k) {
  int32_t end = groupEnd(k / w.groupSize, w.groupSize, w.K);
  int32_t most = x.last - k < QMATMUL_STRETCH ? x.last : k + QMATMUL_STRETCH;
  return end < most ? end : most;
}

/*
 * The columns first … last - 1 of x [rows, K], each times its factor of 32; zeros follow up to the end of a
 * piece.
 */
template <int rows>
static QmatmulRows qmatmulRows(const TiledWeights& w, const float* x, int32_t first, int32_t last,
                               const float* factors) {
  Blocks& scratch = scratchHere<Blocks>();
  const QmatmulRows made = {scratch.rows, scratch.panel, first, last};
  for (int r = 0; r < rows; r++) {
    const float* row = x + (size_t)r * w.K;
    float *to = scratch.rows + r * QMATMUL_STRIDE - first, *sums = scratch.panel + r * QMATMUL_SUMS;
    for (int32_t k = first; k < last; sums++) {
      int32_t end = qmatmulStretchEnd(w, made, k);
      float chains[qmatmulChains<rows>] = {};
      for (int32_t i = k; i < end; i++) chains[i % qmatmulChains<rows>] += row[i];
      *sums = chains[0];
      for (int c = 1; c < qmatmulChains<rows>; c++) *sums += chains[c];
      for (; k < end; k += 16) {
#pragma GCC unroll 4
        for (int i = 0; i < 16; i += LANES) {
          store(to + k + i, loadUpTo(row + k + i, end - k - i) * load(factors + k % 32 + i));
        }
      }
      k = end;
    }
  }
  return made;
}

/* sums += x · q over the columns of a piece of a tile row's run, `first` of the run and those behind it. */
template <int qtype, int first, int rows, int chains, int vectors>
INLINE void qmatmulPiece(f32v (&sums)[rows][chains][vectors], const uint8_t* run, const float* values) {
  QmatmulRun<qtype> runs[vectors];
#pragma GCC unroll 4
  for (int v = 0; v < vectors; v++) runs[v] = qmatmulRun<qtype>(run + v * LANES * 4);
  if constexpr (qmatmulByRows<qtype, rows>) {
#pragma GCC unroll 4
    for (int i = 0; i < 2 * vectors; i++) {
      f32v w[4];
      codebookRows<qtype>(runs[i % vectors].words[0], i / vectors, w);
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) {
        f32v& sum = sums[0][r][i % vectors];
        sum = fma(w[r], twiceFour(values + i / vectors * 4), sum);
      }
    }
    return;
  }
#pragma GCC unroll 16
  for (int j = 0; j < TileRun<qtype>::piece; j++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      f32v q = qmatmulInPlace<qtype>(runs[v], first + j);
#pragma GCC unroll 4
      for (int r = 0; r < rows; r++) {
        f32v& sum = sums[r][j % chains][v];
        sum = fma(q, splat(values[r * QMATMUL_STRIDE + j]), sum);
      }
    }
  }
}

/*
 * y [rows, 16] += x · Wᵀ for the rows n … n + 15 of W, which are read once, from front to back. False if a
 * code is an infinite float or NaN: y is not right then.
 */
template <int qtype, int rows>
static bool qmatmulTileRow(const TiledWeights& w, const QmatmulRows& x, const float* start,
                           size_t startStride, float* y, int32_t n, int32_t N) {
  using Run = TileRun<qtype>;
  constexpr bool byRows = qmatmulByRows<qtype, rows>;
  constexpr int vectors = 16 / LANES, chains = byRows ? 4 : qmatmulChains<rows>;
  constexpr bool float8 = float8Of(qtype) >= 0;
  u32v largest = {};
  GroupValues<vectors> groups{n, groupOf(w, x.last - 1) + 1};
  const bool zeroPoints = hasZeroPoints(w);
  f32v totals[rows][vectors] = {};
  const float *sum = x.sums, *values = x.values;
  const uint8_t* run = tileRun<qtype>(w, n, x.first);
  for (int32_t k = x.first; k < x.last; sum++) {
    int32_t group = k / w.groupSize, end = qmatmulStretchEnd(w, x, k);
    int place = groupPlace(w, groups, group);
    f32v sums[rows][chains][vectors] = {};
    for (; k < end; k += Run::piece, values += Run::piece) {
      withPiece<qtype>(k, [&](auto first) __attribute__((always_inline)) {
        constexpr int at = decltype(first)::value;
        if constexpr (at == 0) prefetchBehind<qtype>(run);
        qmatmulPiece<qtype, at>(sums, run, values);
        if constexpr (float8)
          for (int v = 0; v < vectors; v++)
            largest = maxBytes(largest, float8Marks<qtype>(loadAs<u32v>(run + v * LANES * 4)));
        if constexpr (at + Run::piece == Run::columns) run += 64 * Run::words;
      });
    }
    k = end;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      f32v scale = groups.scales[place][v], offset = groups.offsets[place][v];
#pragma GCC unroll 4
      for (int r = 0; r < rows; r++) {
        f32v products = sums[r][0][v], negative = splat(-sum[r * QMATMUL_SUMS]);
        for (int c = 1; !byRows && c < chains; c++) products += sums[r][c][v];
        if constexpr (byRows) products = sumRows(products, sums[r][1][v], sums[r][2][v], sums[r][3][v]);
        if (isAffine<qtype> && zeroPoints) products = fma(negative, offset, products);
        totals[r][v] = fma(products, scale, totals[r][v]);
        if (isAffine<qtype> && !zeroPoints) totals[r][v] = fma(negative, offset, totals[r][v]);
      }
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < vectors; v++) {
      int32_t m = n + v * LANES;
      if (start) totals[r][v] += loadUpTo(start + r * startStride + m, N - m);
      storeUpTo(y + (size_t)r * N + m, totals[r][v], N - m);
    }
  }
  if constexpr (float8) return float8Finite<qtype>(largest);
  return true;
}

/* False if W has codes that are infinite or NaN. */
template <int qtype, int rows>
static bool qmatmulFewRows(const TiledWeights& w, const float* x, const float* bias, float* y, int32_t N) {
  float factors[32];
  bool finite = true;
  for (int k = 0; k < 32; k++) {
    factors[k] = floatOf((127u - qmatmulPlace<qtype>(k % TileRun<qtype>::columns)) << 23);
  }
  for (int32_t first = 0; first < w.K; first += QMATMUL_PASS) {
    int32_t last = w.K - first < QMATMUL_PASS ? w.K : first + QMATMUL_PASS;
    const QmatmulRows values = qmatmulRows<rows>(w, x, first, last, factors);
    /* A quarter of a million weights take some 20 microseconds. */
    int32_t tileRows = ceilDivide(N, 16), perTask = evenShare(tileRows, 16384 / (last - first) + 1);
    parallelFor(ceilDivide(tileRows, perTask), [&](int32_t task) {
      for (int32_t t = task * perTask; t < (task + 1) * perTask && t < tileRows; t++) {
        const float* start = first > 0 ? y : bias;
        if (!qmatmulTileRow<qtype, rows>(w, values, start, first > 0 ? N : 0, y, t * 16, N))
          __atomic_store_n(&finite, false, __ATOMIC_RELAXED);
      }
    });
  }
  return finite;
}

/* A block of W before it is transposed or its columns are paired, one per thread. */
struct QmatmulBlock {
  alignas(64) float floats[PANEL_DEPTH * PANEL_COLS];
};

/* Called once a panel, so that the products around it are compiled once and not for each type. */
using QmatmulFill = void (*)(const TiledWeights&, float*, int32_t, int32_t, int32_t, int32_t);

/* y [M, outputs] = x [M, inputs] · B + bias, where B is Wᵀ or W. */
struct QmatmulProduct {
  const float *x, *bias;
  float* y;
  int32_t M, outputs, inputs;
};

/*
 * packRows(x, rows, depth, to) and packCols(n, cols, k, depth, to) are those of multiplyBlocks, for columns
 * of x: k and depth count these, whatever a place of a block holds.
 */
template <class Factors, class PackRows, class PackCols>
static void qmatmulBlocks(const QmatmulProduct& p, const PackRows& packRows, const PackCols& packCols) {
  constexpr int32_t each = Factors::columns;
  auto columns = [&](int32_t k, int32_t depth) {
    return p.inputs - k * each < depth * each ? p.inputs - k * each : depth * each;
  };
  multiplyBlocks<Factors>(
      1, p.M, p.outputs, ceilDivide(p.inputs, each),
      [&](int32_t, int32_t m, int32_t rows, int32_t k, int32_t depth, float* to) {
        packRows(p.x + (size_t)m * p.inputs + k * each, rows, columns(k, depth), to);
      },
      [&](int32_t, int32_t n, int32_t cols, int32_t k, int32_t depth, float* to) {
        packCols(n, cols, k * each, columns(k, depth), to);
      },
      [&](int32_t, int32_t m, int32_t, int32_t n, int32_t, int32_t k, auto multiply) {
        float* to = p.y + (size_t)m * p.outputs + n;
        multiply(k > 0 ? to : p.bias ? p.bias + n : nullptr, k > 0 ? p.outputs : 0, to, p.outputs);
      });
}

/* The product of floats; of such as were rounded to bfloat16, if asked for. */
template <class PackCols>
static void qmatmulFloats(const QmatmulProduct& p, bool rounded, const PackCols& packCols) {
  qmatmulBlocks<Floats>(
      p,
      [&](const float* x, int32_t rows, int32_t depth, float* to) {
        copyRows(x, p.inputs, rows, depth, to);
        if (rounded) roundFloats(to, ceilDivide(rows, TILE_ROWS) * tileSize(TILE_ROWS, depth));
      },
      [&](int32_t n, int32_t cols, int32_t k, int32_t depth, float* to) {
        packCols(n, cols, k, depth, to);
        if (rounded) roundFloats(to, depth * PANEL_COLS);
      });
}

/* y [M, K] = x [M, N] · W: a panel holds columns of W, whose blocks are dequantized and transposed. */
static void qmatmulTransposed(const TiledWeights& w, QmatmulFill fill, const QmatmulProduct& p, bool rounded) {
  qmatmulFloats(p, rounded, [&](int32_t k, int32_t cols, int32_t n, int32_t depth, float* to) {
    float* block = scratchHere<QmatmulBlock>().floats;
    for (int32_t i = 0; i < depth; i += PANEL_COLS) {
      int32_t rows = depth - i < PANEL_COLS ? depth - i : PANEL_COLS;
      fill(w, block, n + i, rows, k, cols);
      transposeRows<FLOAT32>(block, 0, PANEL_COLS, cols, rows, to + i * PANEL_COLS, PANEL_COLS);
    }
  });
}

#if LANES == 16
/* y [M, N] = x [M, K] · Wᵀ in bfloat16: a panel is dequantized in parts, whose columns are paired. */
static void qmatmulPairs(const TiledWeights& w, QmatmulFill fill, const QmatmulProduct& p) {
  qmatmulBlocks<Pairs>(
      p,
      [&](const float* x, int32_t rows, int32_t depth, float* to) { copyPairs(x, p.inputs, rows, depth, to); },
      [&](int32_t n, int32_t cols, int32_t k, int32_t depth, float* to) {
        float* block = scratchHere<QmatmulBlock>().floats;
        for (int32_t i = 0; i < depth; i += PANEL_DEPTH) {
          int32_t part = depth - i < PANEL_DEPTH ? depth - i : PANEL_DEPTH;
          fill(w, block, n, cols, k + i, part);
          pairRows(block, part, to + i / 2 * PANEL_COLS);
        }
      });
}
#endif

/* y [M, N] = x [M, K] · Wᵀ of many rows. */
static void qmatmulManyRows(const TiledWeights& w, QmatmulFill fill, const QmatmulProduct& p, bool rounded) {
#if LANES == 16
  if (rounded) return qmatmulPairs(w, fill, p);
#endif
  qmatmulFloats(p, rounded, [&](int32_t n, int32_t cols, int32_t k, int32_t depth, float* to) {
    fill(w, to, n, cols, k, depth);
  });
}

/*
 * Whether x is finite: else both sums above may be infinite, and their difference no number where Σ x·W is
 * one.
 */
static bool qmatmulFinite(const float* x, int32_t M, int32_t K) {
  float largest = rowAbsMax(M * K, [&](int32_t i, int32_t n) { return loadUpTo(x + i, n); });
  return largest < __builtin_inff();
}

/*
 * The product of few rows of x; false where M are not few, or something is not finite. On vectors of fewer
 * lanes broadcasting x costs more than a panel from the third row on; codes in several planes take so many
 * instructions that a panel is worth it from the second.
 */
template <int qtype> static bool qmatmulFew(const TiledWeights& w, const float* x, const float* bias, float* y,
                                            int32_t M, int32_t N) {
  if (M > 4 || !qmatmulFinite(x, M, w.K)) return false;
  if (M == 1) return qmatmulFewRows<qtype, 1>(w, x, bias, y, N);
  if constexpr (TileRun<qtype>::words == 1) {
    if (M == 2) return qmatmulFewRows<qtype, 2>(w, x, bias, y, N);
    if constexpr (LANES == 16) {
      if (M == 3) return qmatmulFewRows<qtype, 3>(w, x, bias, y, N);
      if (M == 4) return qmatmulFewRows<qtype, 4>(w, x, bias, y, N);
    }
  }
  return false;
}

void qmatmul(const float* x, const uint8_t* codes, int32_t qtype, const void* scale, const void* offset,
             int32_t scaleDtype, int32_t offsetDtype, const float* bias, float* y, int32_t M, int32_t N,
             int32_t K, int32_t groupSize, int32_t transposed, const int32_t* span,
             int32_t computeDtype, const void* scaleValues, const void* offsetValues, int32_t valueDtype, int32_t scaleBits,
             int32_t scaleZero, int32_t offsetBits, int32_t shared, int32_t zeroPoint) {
  const Span part = spanOf(span, M);
  if (part.count <= 0) return;
  x += (size_t)part.first * (transposed ? N : K), y += (size_t)part.first * (transposed ? K : N);
  M = part.count;
  const TiledWeights w =
      tiledWeights(codes, {scale, scaleDtype, scaleBits, scaleZero, scaleValues},
                   {offset, offsetDtype, offsetBits, 0, offsetValues}, valueDtype, shared, zeroPoint, K,
                   groupSize);
  const bool rounded = computeDtype == BFLOAT16;
  QmatmulFill fill = nullptr;
  bool done = false;
  withQType(qtype, [&](auto type) {
    constexpr int t = decltype(type)::value;
    fill = qmatmulFill<t>;
    done = !transposed && !rounded && qmatmulFew<t>(w, x, bias, y, M, N);
  });
  if (done) return;
  if (transposed) return qmatmulTransposed(w, fill, {x, bias, y, M, K, N}, rounded);
  qmatmulManyRows(w, fill, {x, bias, y, M, N, K}, rounded);
}

}  // namespace LOWBIT_ISA
