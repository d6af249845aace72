#pragma once
#include "rows.h"

namespace LOWBIT_ISA {

/*
 * Many rows of queries are lanes: scores [keys, rows] = k · qᵀ and yᵀ [headSize, rows] += vᵀ · weights are
 * products whose left factors are keys and values as they lie in the cache, made floats once for all rows, and
 * what is done with a row's scores is done with vectors of rows. q and y are transposed once for all keys.
 */
struct ManyRowsScratch {
  /*
   * Of so many values each: q, and y before it is divided, transposed. They lie where products
   * put their blocks: a thread's memory is small in WebAssembly.
   */
  static constexpr int32_t size = 64 * PANEL_DEPTH;
  static_assert(2 * size <= BLOCK_ROWS * TILE_STRIDE, "queries and sums fit into a block of rows");
  float *queries, *sums;
  alignas(64) float scores[ATTENTION_KEYS * 64];
  alignas(64) float largest[64];
  alignas(64) float total[64];
  /* The first key that each row sees, and the end. */
  alignas(64) int32_t low[64];
  alignas(64) int32_t high[64];
  /* Between rows of the above. */
  int32_t width;
  /* Before the first keys: sums hold anything. */
  bool fresh;
};

/*
 * How many rows of such a head share a pass over the keys: whole tiles of columns; 0 where there is no room
 * for one.
 */
INLINE int32_t manyRowsWidth(int32_t headSize) {
  int32_t width = 64;
  while (width >= TILE_COLS && width * headSize > ManyRowsScratch::size) width /= 2;
  return width >= TILE_COLS ? width : 0;
}

/* Some rows and lanes behind them, whole vectors. */
INLINE int32_t wholeVectors(int32_t rows) { return (rows + LANES - 1) / LANES * LANES; }

/* Keys or values as floats with TILE_STRIDE between tokens. */
template <class Tokens> INLINE const float* floatsOf(const Tokens& tokens, int32_t count, int32_t cols) {
  if constexpr (Tokens::dtype == FLOAT32) {
    if (tokens.stride == TILE_STRIDE) return (const float*)tokens.data + tokens.at;
  }
  float* floats = scratchHere<AttentionBlock>().floats;
  tokens.decode(count, cols, floats, TILE_STRIDE);
  return floats;
}

/* scores [keys, rows] = k · qᵀ for keys from first on. */
template <class Source>
static void manyScores(const AttentionRows& a, const Source& source, int32_t first, int32_t keys,
                       ManyRowsScratch& s) {
  eachDepth(a.headSize, [&](int32_t i, int32_t depth) {
    const float* k = floatsOf(source.keys(first, keys, i, depth), keys, depth);
    multiplyBlock(k, keys, s.queries + i * s.width, s.width, depth, i > 0 ? s.scores : nullptr, s.width,
                  s.scores, s.width, wholeVectors(a.rows()));
  });
}

/*
 * Products become scores, cap(factor · product) + bias, or stay as they are where there is neither; and −∞ where
 * a row does not see a key: its weight is e^−∞ = 0.
 */
OUTLINE void manyMask(const AttentionRows& a, int32_t first, int32_t keys, ManyRowsScratch& s) {
  /* [keys, rows] */
  float* bias = scratchHere<AttentionBlock>().floats;
  if (a.bias) {
    transposeRowsAt<FLOAT32>(a.bias + first, [&](int32_t r) { return a.biasAt(r); }, a.rows(), keys, bias,
                             s.width);
  }
  for (int32_t r = 0; r < a.rows(); r += LANES) {
    i32v low = load(s.low + r), high = load(s.high + r);
    for (int32_t j = 0; j < keys; j++) {
      size_t at = j * s.width + r;
      f32v score = load(s.scores + at);
      if (a.bias || a.softcap != 0) score = a.score(score * a.factor());
      if (a.bias) score += load(bias + at);
      i32v key = splat(first + j);
      store(s.scores + at, select((key >= low) & (key < high), score, splat(-__builtin_inff())));
    }
  }
}

/*
 * Scores, which are still to be multiplied by `factor`, become weights e^(score - largest so far); what sums and
 * total hold is brought to the new largest score.
 */
static void manyWeights(const AttentionRows& a, int32_t keys, float factor, ManyRowsScratch& s) {
  for (int32_t r = 0; r < a.rows(); r += LANES) {
    float* scores = s.scores + r;
    f32v before = load(s.largest + r), top = before, total = {}, by = splat(factor);
    for (int32_t j = 0; j < keys; j++) top = max(load(scores + j * s.width) * by, top);
    for (int32_t j = 0; j < keys; j++) {
      f32v weight = exp(fma(load(scores + j * s.width), by, -top));
      store(scores + j * s.width, weight);
      total += weight;
    }
    f32v less = exp(before - top);
    store(s.largest + r, top);
    store(s.total + r, load(s.total + r) * less + total);
    if (s.fresh || min(less) == 1) continue;
    float* sums = s.sums + r;
    for (int32_t i = 0; i < a.headSize; i++) store(sums + i * s.width, load(sums + i * s.width) * less);
  }
}

/* Whether all of x [rows, cols] is finite: what is not gives NaN with a weight of 0, too. */
static bool blockFinite(const float* x, int32_t rows, int32_t cols) {
  f32v zeros = {};
  for (int32_t r = 0; r < rows; r++) {
    for (int32_t c = 0; c < cols; c += LANES) zeros += loadUpTo(x + r * TILE_STRIDE + c, cols - c) * 0.0f;
  }
  return sum(zeros) == 0;
}

/* sums += vᵀ · weights of the columns from i on, a key after another, and only where a row sees it. */
static void sumsOfSeen(const AttentionRows& a, const float* v, int32_t first, int32_t keys, int32_t i,
                       int32_t cols, ManyRowsScratch& s) {
  for (int32_t r = 0; r < a.rows(); r += LANES) {
    i32v low = load(s.low + r), high = load(s.high + r);
    for (int32_t c = 0; c < cols; c++) {
      float* at = s.sums + (i + c) * s.width + r;
      f32v total = s.fresh ? f32v{} : load(at);
      for (int32_t j = 0; j < keys; j++) {
        i32v key = splat(first + j);
        f32v more = fma(splat(v[j * TILE_STRIDE + c]), load(s.scores + j * s.width + r), total);
        total = select((key >= low) & (key < high), more, total);
      }
      store(at, total);
    }
  }
}

/* sums += vᵀ · weights, or = for the first keys. */
template <class Source>
static void manyValues(const AttentionRows& a, const Source& source, int32_t first, int32_t keys, bool partly,
                       ManyRowsScratch& s) {
  eachDepth(a.headSize, [&](int32_t i, int32_t cols) {
    const float* v = floatsOf(source.values(first, keys, i, cols), keys, cols);
    /* NaN must not reach rows that do not see it. */
    if (partly && !blockFinite(v, keys, cols)) return sumsOfSeen(a, v, first, keys, i, cols, s);
    float* sums = s.sums + i * s.width;
    multiplyBlock<1, TILE_STRIDE>(v, cols, s.scores, s.width, keys, s.fresh ? nullptr : sums, s.width, sums,
                                  s.width, wholeVectors(a.rows()));
  });
  s.fresh = false;
}

OUTLINE void startManyRows(const AttentionRows& a) {
  ManyRowsScratch& s = scratchHere<ManyRowsScratch>();
  s.fresh = true;
  s.width = manyRowsWidth(a.headSize);
  s.queries = scratchHere<Blocks>().rows;
  s.sums = s.queries + ManyRowsScratch::size;
  int32_t rows = a.rows(), lanes = wholeVectors(rows);
  transposeRowsAt<FLOAT32>(a.q, [&](int32_t r) { return a.at(r); }, rows, a.headSize, s.queries, s.width);
  /* Lanes behind the last row hold zeros. */
  for (int32_t i = 0, last = lanes - LANES; i < a.headSize; i++) {
    float* queries = s.queries + i * s.width + last;
    store(queries, loadUpTo(queries, rows - last));
  }
  for (int32_t r = 0; r < lanes; r++) {
    float sink = r < rows ? a.sink(r) : -__builtin_inff();
    s.largest[r] = attentionStart(sink);
    s.total[r] = sink == -__builtin_inff() ? 0 : exp(sink - s.largest[r]);
  }
}

/* The keys of a source that the rows see join in. */
template <class Source>
OUTLINE void manyRowsAttend(const AttentionRows& a, const Source& source, const AttentionSpan& span) {
  ManyRowsScratch& s = scratchHere<ManyRowsScratch>();
  int32_t rows = a.rows(), lanes = wholeVectors(rows);
  for (int32_t r = 0; r < lanes; r++) {
    s.low[r] = r < rows ? span.first(a.token(r)) : 0;
    s.high[r] = r < rows ? span.end(a.token(r)) : 0;
  }
  eachKeys(a, span, [&](int32_t first, int32_t keys) {
    bool partly = partlySeen(a, span, first, keys);
    manyScores(a, source, first, keys, s);
    bool counted = a.bias || a.softcap != 0;
    if (partly || counted) manyMask(a, first, keys, s);
    manyWeights(a, keys, counted ? 1 : a.factor(), s);
    manyValues(a, source, first, keys, partly, s);
  });
}

/* y is what was summed by the weights' total, transposed back; nothing seen gives 0. */
OUTLINE void endManyRows(const AttentionRows& a) {
  ManyRowsScratch& s = scratchHere<ManyRowsScratch>();
  for (int32_t r = 0; r < a.rows(); r += LANES) {
    f32v total = load(s.total + r);
    for (int32_t i = 0; i < a.headSize; i++) {
      float* sums = s.sums + i * s.width + r;
      store(sums, s.fresh ? f32v{} : select(total == 0, splat(0.0f), load(sums) / total));
    }
  }
  transposeRowsTo(s.sums, s.width, a.rows(), a.headSize, a.y, [&](int32_t r) { return a.at(r); });
}

}  // namespace LOWBIT_ISA
