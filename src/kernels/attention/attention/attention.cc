#include "panel.h"

namespace LOWBIT_ISA {

/* Queries that share one pass over the keys, and keys between two updates of the running softmax. */
constexpr int32_t ATTENTION_ROWS = 64;
constexpr int32_t ATTENTION_KEYS = 64;

struct AttentionScratch {
  alignas(64) float scores[ATTENTION_ROWS * ATTENTION_KEYS];
  /*
   * Keys transposed, [PANEL_DEPTH, ATTENTION_KEYS], or values padded to whole tiles of columns,
   * [ATTENTION_KEYS, PANEL_DEPTH].
   */
  alignas(64) float panel[PANEL_DEPTH * ATTENTION_KEYS];
  float largest[ATTENTION_ROWS];
  float total[ATTENTION_ROWS];
};

/*
 * Rows of queries that share keys and values. Row r sees the first visible + r · step keys: consecutive
 * tokens of one head (step 1), or the heads of one group for a single token (step 0).
 */
struct AttentionRows {
  const float* q;
  const float* k;
  const float* v;
  float* y;
  size_t stride; /* between rows of q and of y */
  int32_t rows, headSize, visible, step;
};

/* scores [rows, keys] = q · kᵀ for keys from first on. */
static void attentionScores(const AttentionRows& a, int32_t first, int32_t keys, AttentionScratch& s) {
  const float* k = a.k + (size_t)first * a.headSize;
  if (a.rows <= 4) {
    for (int32_t j = 0; j < keys; j++, k += a.headSize) {
      for (int32_t r = 0; r < a.rows; r++) {
        f32v dot = {};
        for (int32_t i = 0; i < a.headSize; i += LANES) {
          dot = fma(loadUpTo(a.q + r * a.stride + i, a.headSize - i), loadUpTo(k + i, a.headSize - i), dot);
        }
        s.scores[r * ATTENTION_KEYS + j] = sum(dot);
      }
    }
    return;
  }
  for (int32_t i = 0; i < a.headSize; i += PANEL_DEPTH) {
    int32_t depth = a.headSize - i < PANEL_DEPTH ? a.headSize - i : PANEL_DEPTH;
    transposeRows<FLOAT32>(k, i, a.headSize, keys, depth, s.panel, ATTENTION_KEYS);
    const float* start = i > 0 ? s.scores : nullptr;
    multiplyPanel(a.q + i, a.stride, a.rows, s.panel, ATTENTION_KEYS, depth, start, ATTENTION_KEYS, s.scores, ATTENTION_KEYS, keys);
  }
}

/*
 * Scores become weights e^(scale·score - largest so far); what y and total hold from before is brought to the
 * new largest score.
 * Source: Milakov, Gimelshein, "Online normalizer calculation for softmax", 2018, algorithm 3.
 */
static void attentionWeights(const AttentionRows& a, int32_t first, int32_t keys, float scale, AttentionScratch& s) {
  for (int32_t r = 0; r < a.rows; r++) {
    float* row = s.scores + r * ATTENTION_KEYS;
    int32_t seen = a.visible + r * a.step - first;
    if (seen > keys) seen = keys;
    if (seen < 0) seen = 0;
    for (int32_t j = 0; j < ATTENTION_KEYS; j += LANES) store(row + j, load(row + j) * scale);
    /* A whole number of vectors, -∞ behind the last key that the row sees: its weight is e^-∞ = 0. */
    for (int32_t j = seen; j < ATTENTION_KEYS; j++) row[j] = -__builtin_inff();
    f32v largest = splat(s.largest[r]);
    for (int32_t j = 0; j < ATTENTION_KEYS; j += LANES) largest = max(load(row + j), largest);
    float top = max(largest);
    f32v total = {};
    for (int32_t j = 0; j < ATTENTION_KEYS; j += LANES) {
      f32v weight = exp(load(row + j) - top);
      store(row + j, weight);
      total += weight;
    }
    float before = exp(s.largest[r] - top);
    s.total[r] = s.total[r] * before + sum(total);
    s.largest[r] = top;
    if (before != 1 && first > 0) {
      float* y = a.y + r * a.stride;
      for (int32_t i = 0; i < a.headSize; i += LANES) storeUpTo(y + i, loadUpTo(y + i, a.headSize - i) * before, a.headSize - i);
    }
  }
}

/* Whether all of x is: what is not gives NaN with a weight of 0, too. */
static bool allFinite(const float* x, size_t count) {
  f32v zeros = {};
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) zeros += load(x + i) * 0.0f;
  for (; i < count; i++) zeros[0] += x[i] * 0.0f;
  return sum(zeros) == 0;
}

/* y += weights · v, or = for the first keys. */
static void attentionValues(const AttentionRows& a, int32_t first, int32_t keys, AttentionScratch& s) {
  const float* v = a.v + (size_t)first * a.headSize;
  /* A later token's NaN must not reach earlier ones: then each row takes no more keys than it sees. */
  bool rowByRow = a.visible < first + keys && !allFinite(v, (size_t)keys * a.headSize);
  for (int32_t i = 0; i < a.headSize; i += PANEL_DEPTH) {
    int32_t cols = a.headSize - i < PANEL_DEPTH ? a.headSize - i : PANEL_DEPTH;
    const float* panel = v + i;
    size_t panelStride = a.headSize;
    if (cols % TILE_COLS != 0) {
      for (int32_t j = 0; j < keys; j++) {
        const float* from = v + (size_t)j * a.headSize + i;
        for (int32_t c = 0; c < cols; c += LANES) store(s.panel + j * PANEL_DEPTH + c, loadUpTo(from + c, cols - c));
      }
      panel = s.panel;
      panelStride = PANEL_DEPTH;
    }
    for (int32_t r = 0; r < a.rows; r = rowByRow ? r + 1 : a.rows) {
      float* y = a.y + r * a.stride + i;
      int32_t seen = a.visible + r * a.step - first;
      int32_t depth = !rowByRow || seen > keys ? keys : seen;
      if (depth <= 0) continue;
      const float* start = first > 0 ? y : nullptr;
      multiplyPanel(s.scores + r * ATTENTION_KEYS, ATTENTION_KEYS, rowByRow ? 1 : a.rows, panel, panelStride, depth, start, a.stride, y,
                    a.stride, cols);
    }
  }
}

static void attentionRows(const AttentionRows& a, float scale) {
  static thread_local AttentionScratch s;
  for (int32_t r = 0; r < a.rows; r++) {
    /* Not -∞: a block of scores that all are would give ∞ - ∞. */
    s.largest[r] = -3.40282347e38f;
    s.total[r] = 0;
  }
  int32_t seen = a.visible + (a.rows - 1) * a.step;
  for (int32_t first = 0; first < seen; first += ATTENTION_KEYS) {
    int32_t keys = seen - first < ATTENTION_KEYS ? seen - first : ATTENTION_KEYS;
    attentionScores(a, first, keys, s);
    attentionWeights(a, first, keys, scale, s);
    attentionValues(a, first, keys, s);
  }
  for (int32_t r = 0; r < a.rows; r++) {
    float* y = a.y + r * a.stride;
    for (int32_t i = 0; i < a.headSize; i += LANES) storeUpTo(y + i, loadUpTo(y + i, a.headSize - i) / s.total[r], a.headSize - i);
  }
}

void attention(const float* q, const float* k, const float* v, float* y, int32_t batch, int32_t tokens, int32_t heads, int32_t kvHeads,
               int32_t headSize, int32_t position, int32_t capacity, float scale) {
  int32_t group = heads / kvHeads;
  /*
   * One token: the heads of a group are the rows, and their keys are read once. Several: blocks of tokens of
   * one head.
   */
  int32_t headsPerTask = tokens == 1 ? (group < ATTENTION_ROWS ? group : 1) : 1;
  int32_t tokenBlocks = (tokens + ATTENTION_ROWS - 1) / ATTENTION_ROWS;
  int32_t headBlocks = heads / headsPerTask;
  int32_t units = batch * headBlocks * tokenBlocks;
  double perUnit = (double)headsPerTask * (tokens < ATTENTION_ROWS ? tokens : ATTENTION_ROWS) * (position + tokens) * headSize * 2;
  int32_t perTask = perUnit >= 2e5 ? 1 : (int32_t)(2e5 / perUnit) + 1;
  parallelFor((units + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t unit = task * perTask; unit < (task + 1) * perTask && unit < units; unit++) {
      /* Last token blocks first: they see the most keys and take the longest. */
      int32_t block = tokenBlocks - 1 - unit / (batch * headBlocks);
      int32_t b = unit % (batch * headBlocks) / headBlocks, head = unit % headBlocks * headsPerTask;
      int32_t t = block * ATTENTION_ROWS;
      int32_t rows = tokens == 1 ? headsPerTask : tokens - t < ATTENTION_ROWS ? tokens - t : ATTENTION_ROWS;
      size_t at = (((size_t)b * tokens + t) * heads + head) * headSize;
      size_t cache = ((size_t)b * kvHeads + head / group) * capacity * headSize;
      size_t stride = tokens == 1 ? headSize : (size_t)heads * headSize;
      attentionRows({q + at, k + cache, v + cache, y + at, stride, rows, headSize, position + t + 1, tokens == 1 ? 0 : 1}, scale);
    }
  });
}

}  // namespace LOWBIT_ISA
