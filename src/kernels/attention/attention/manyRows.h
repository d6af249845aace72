#pragma once
#include "rows.h"

namespace LOWBIT_ISA {

/*
 * Many rows of queries are lanes: scores [keys, rows] = k · qᵀ and yᵀ [headSize, rows] += vᵀ · weights are
 * products whose left factors are keys and values as they lie in the cache, made floats once for all rows, and
 * what is done with a row's scores is done with vectors of rows. q and y are transposed once for all keys.
 * A tile of columns of rows takes no more keys than it sees.
 */
struct ManyRowsScratch {
  static constexpr int32_t width = 64;
  /*
   * q and y, before it is divided, transposed. They lie where products put their blocks: a thread's memory is
   * small in WebAssembly.
   */
  static constexpr int32_t size = BLOCK_ROWS * TILE_STRIDE / 2;
  float *queries, *sums;
  alignas(64) float scores[ATTENTION_KEYS * width];
  alignas(64) float largest[width];
  alignas(64) float total[width];
  /* The first key that each row sees, and the end. */
  alignas(64) int32_t low[width];
  alignas(64) int32_t high[width];
};

/* Between rows of scores, queries and sums. */
constexpr int32_t ROWS_WIDTH = ManyRowsScratch::width;

/* How many rows of such a head share a pass over the keys; 0 where there is no room for them. */
INLINE int32_t manyRowsWidth(int32_t headSize) {
  return headSize <= ManyRowsScratch::size / ROWS_WIDTH ? ROWS_WIDTH : 0;
}

/* Keys or values as floats with TILE_STRIDE between tokens. */
template <class Tokens> INLINE const float* floatsOf(const Tokens& tokens, int32_t count, int32_t cols) {
  if constexpr (Tokens::dtype == FLOAT32) {
    if (tokens.stride == TILE_STRIDE) return (const float*)tokens.data + tokens.at;
  }
  float* floats = scratchHere<AttentionBlock>().floats;
  tokens.decode(count, cols, floats, TILE_STRIDE);
  return floats;
}

/* body(c, seen) for tiles of columns of rows, from c on, and how many of the keys they see. */
template <class Body>
INLINE void eachTile(const AttentionRows& a, const AttentionSpan& span, int32_t first, int32_t keys,
                     const Body& body) {
  for (int32_t c = 0; c < a.rows; c += TILE_COLS) {
    int32_t last = (c + TILE_COLS < a.rows ? c + TILE_COLS : a.rows) - 1;
    int32_t seen = span.end(last) - first;
    if (seen > 0) body(c, seen < keys ? seen : keys);
  }
}

/* Products become scores: scaled and bounded, with the bias added. */
OUTLINE void countScores(const AttentionRows& a, int32_t first, int32_t keys, ManyRowsScratch& s) {
  /* [keys, rows] */
  float* bias = scratchHere<AttentionBlock>().floats;
  if (a.bias) transposeRows<FLOAT32>(a.bias, first, a.biasStride, a.rows, keys, bias, ROWS_WIDTH);
  for (int32_t j = 0; j < keys; j++) {
    for (int32_t r = 0; r < a.rows; r += LANES) {
      float* at = s.scores + j * ROWS_WIDTH + r;
      f32v score = attentionScore(a, load(at));
      store(at, a.bias ? score + load(bias + j * ROWS_WIDTH + r) : score);
    }
  }
}

/*
 * Scores of LANES rows from r on, which are still to be multiplied by `factor`, and are −∞ where a row does not
 * see a key and up to a whole vector of keys; gives the largest of them and of the rows' largest.
 */
INLINE f32v largestScores(int32_t r, int32_t first, int32_t seen, bool partly, float factor,
                          ManyRowsScratch& s) {
  float* scores = s.scores + r;
  f32v top = load(s.largest + r), none = splat(-__builtin_inff());
  i32v low = load(s.low + r), high = load(s.high + r);
  for (int32_t j = 0; j < seen; j++) {
    f32v score = load(scores + j * ROWS_WIDTH) * factor;
    i32v key = splat(first + j);
    if (partly) score = select((key >= low) & (key < high), score, none);
    store(scores + j * ROWS_WIDTH, score);
    top = max(score, top);
  }
  for (int32_t j = seen; j % LANES != 0; j++) store(scores + j * ROWS_WIDTH, none);
  return top;
}

/*
 * Scores of LANES rows from r on become weights e^(score - top), whose sums are given. Few rows sum the keys in
 * lanes; these in the same order, so that a row's result does not depend on how many there are.
 */
INLINE f32v weightsOf(int32_t r, f32v top, int32_t seen, ManyRowsScratch& s) {
  f32v sums[LANES] = {};
  float* scores = s.scores + r;
  for (int32_t j = 0; j < seen; j += LANES) {
    for (int32_t lane = 0; lane < LANES; lane++, scores += ROWS_WIDTH) {
      f32v weight = expOfNegative(load(scores) - top);
      store(scores, weight);
      sums[lane] += weight;
    }
  }
  for (int32_t half = LANES / 2; half > 0; half /= 2) {
    for (int32_t lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

/* Scores become weights e^(score - largest so far); what sums and total hold is brought to the new largest score. */
static void manyWeights(const AttentionRows& a, int32_t c, int32_t first, int32_t seen, bool partly,
                        float factor, ManyRowsScratch& s) {
  for (int32_t r = c; r < c + TILE_COLS; r += LANES) {
    f32v before = load(s.largest + r), top = largestScores(r, first, seen, partly, factor, s);
    f32v total = weightsOf(r, top, seen, s), less = expOfNegative(before - top);
    store(s.largest + r, top);
    store(s.total + r, load(s.total + r) * less + total);
    if (min(less) == 1) continue;
    float* sums = s.sums + r;
    for (int32_t i = 0; i < a.headSize; i++) store(sums + i * ROWS_WIDTH, load(sums + i * ROWS_WIDTH) * less);
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
OUTLINE void sumSeen(int32_t c, const float* v, int32_t first, int32_t keys, int32_t i, int32_t cols,
                     ManyRowsScratch& s) {
  for (int32_t r = c; r < c + TILE_COLS; r += LANES) {
    i32v low = load(s.low + r), high = load(s.high + r);
    for (int32_t col = 0; col < cols; col++) {
      f32v total = {};
      for (int32_t j = 0; j < keys; j++) {
        i32v key = splat(first + j);
        f32v more = fma(splat(v[j * TILE_STRIDE + col]), load(s.scores + j * ROWS_WIDTH + r), total);
        total = select((key >= low) & (key < high), more, total);
      }
      float* at = s.sums + (i + col) * ROWS_WIDTH + r;
      store(at, load(at) + total);
    }
  }
}

OUTLINE void startManyRows(const AttentionRows& a) {
  ManyRowsScratch& s = scratchHere<ManyRowsScratch>();
  s.queries = scratchHere<Blocks>().rows;
  s.sums = s.queries + ManyRowsScratch::size;
  /* Lanes behind the last row hold zeros. */
  int32_t cols = ceilDivide(a.rows, TILE_COLS) * TILE_COLS;
  for (int32_t i = 0; i < a.headSize; i++) {
    for (int32_t c = 0; c < cols; c += LANES) store(s.sums + i * ROWS_WIDTH + c, f32v{});
    for (int32_t c = cols - TILE_COLS; c < cols; c += LANES) store(s.queries + i * ROWS_WIDTH + c, f32v{});
  }
  transposeRows<FLOAT32>(a.q, 0, a.stride, a.rows, a.headSize, s.queries, ROWS_WIDTH);
  for (int32_t r = 0; r < ROWS_WIDTH; r++) {
    float sink = r < a.rows ? sinkOf(a, r) : -__builtin_inff();
    s.largest[r] = attentionStart(sink);
    s.total[r] = sink == -__builtin_inff() ? 0 : exp(sink - s.largest[r]);
  }
}

/* The keys of a source that the rows see join in. */
template <class Source>
OUTLINE void attendManyRows(const AttentionRows& a, const Source& source, const AttentionSpan& span) {
  ManyRowsScratch& s = scratchHere<ManyRowsScratch>();
  for (int32_t r = 0; r < ROWS_WIDTH; r++) {
    s.low[r] = r < a.rows ? span.first(r) : 0;
    s.high[r] = r < a.rows ? span.end(r) : 0;
  }
  bool counted = a.bias || a.softcap != 0;
  eachKeys(a, span, [&](int32_t first, int32_t keys) {
    bool partly = partlySeen(a, span, first, keys);
    eachDepth(a.headSize, [&](int32_t i, int32_t depth) {
      const float* k = floatsOf(source.keys(first, keys, i, depth), keys, depth);
      eachTile(a, span, first, keys, [&](int32_t c, int32_t seen) {
        float* scores = s.scores + c;
        multiplyBlock<TILE_STRIDE, 1>(k, seen, s.queries + i * ROWS_WIDTH + c, ROWS_WIDTH, depth,
                                      i > 0 ? scores : nullptr, ROWS_WIDTH, scores, ROWS_WIDTH, TILE_COLS);
      });
    });
    if (counted) countScores(a, first, keys, s);
    eachTile(a, span, first, keys, [&](int32_t c, int32_t seen) {
      manyWeights(a, c, first, seen, partly, counted ? 1 : a.scale, s);
    });
    eachDepth(a.headSize, [&](int32_t i, int32_t cols) {
      const float* v = floatsOf(source.values(first, keys, i, cols), keys, cols);
      /* NaN must not reach rows that do not see it. */
      bool finite = !partly || blockFinite(v, keys, cols);
      eachTile(a, span, first, keys, [&](int32_t c, int32_t seen) {
        if (!finite) return sumSeen(c, v, first, seen, i, cols, s);
        float* sums = s.sums + i * ROWS_WIDTH + c;
        multiplyBlock<1, TILE_STRIDE>(v, cols, s.scores + c, ROWS_WIDTH, seen, sums, ROWS_WIDTH, sums,
                                      ROWS_WIDTH, TILE_COLS);
      });
    });
  });
}

/* y is what was summed by the weights' total, transposed back; nothing seen gives 0. */
OUTLINE void endManyRows(const AttentionRows& a) {
  ManyRowsScratch& s = scratchHere<ManyRowsScratch>();
  for (int32_t r = 0; r < a.rows; r += LANES) {
    f32v total = load(s.total + r);
    for (int32_t i = 0; i < a.headSize; i++) {
      float* sums = s.sums + i * ROWS_WIDTH + r;
      f32v y = load(sums);
      store(sums, select(total == 0, y, y / total));
    }
  }
  transposeBack(s.sums, ROWS_WIDTH, a.rows, a.headSize, a.y, a.stride);
}

}  // namespace LOWBIT_ISA
