#include "panel.h"

namespace LOWBIT_ISA {

/* Rows and columns of h in a task. */
constexpr int32_t GRAM_ROWS = 96, GRAM_COLS = 256;

/* h [rows, cols] at [m, n] = kept · h + share · xᵀ·x */
static void gramTile(const float* x, float* h, int32_t M, int32_t K, int32_t m, int32_t n, float kept,
                     float share) {
  Blocks& scratch = scratchHere<Blocks>();
  int32_t rows = K - m < GRAM_ROWS ? K - m : GRAM_ROWS, last = K - n < GRAM_COLS ? K : n + GRAM_COLS;
  /* Nothing is wanted of what lies below the diagonal as a whole. */
  if (n < m) n += (m - n) / PANEL_COLS * PANEL_COLS;
  for (int32_t r = m; r < m + rows; r++)
    for (int32_t c = n; c < last; c += LANES) {
      float* to = h + (size_t)r * K + c;
      storeUpTo(to, kept * loadUpTo(to, last - c), last - c);
    }
  for (int32_t k = 0; k < M; k += PANEL_DEPTH) {
    int32_t depth = M - k < PANEL_DEPTH ? M - k : PANEL_DEPTH;
    copyColumns(x + (size_t)k * K + m, K, 1, rows, depth, depth, scratch.rows);
    /* As one run, gaps between rows included: whole vectors may pass its end, but meet no tile twice. */
    const float* end = scratch.rows;
    eachBlockTile(rows, depth, scratch.rows,
                  [&](int32_t, int32_t count, float* to) { end = to + tileSize(count, depth); });
    for (float* at = scratch.rows; at < end; at += LANES) store(at, share * load(at));
    for (int32_t c = n; c < last; c += PANEL_COLS) {
      int32_t cols = last - c < PANEL_COLS ? last - c : PANEL_COLS;
      for (int32_t d = 0; d < depth; d++) {
        const float* from = x + (size_t)(k + d) * K + c;
        for (int32_t i = 0; i < cols; i += LANES)
          store(scratch.panel + d * PANEL_COLS + i, loadUpTo(from + i, cols - i));
      }
      float* to = h + (size_t)m * K + c;
      multiplyBlock(scratch.rows, rows, scratch.panel, PANEL_COLS, depth, to, K, to, K, cols);
    }
  }
}

/* What lies below the diagonal in these rows is what lies above it. */
static void gramMirror(float* h, int32_t K, int32_t first, int32_t last) {
  constexpr int32_t SIDE = 64;
  for (int32_t c = 0; c < first; c += SIDE) {
    int32_t cols = first - c < SIDE ? first - c : SIDE;
    transposeRows<FLOAT32>(h, (size_t)c * K + first, K, cols, last - first, h + (size_t)first * K + c, K);
  }
  for (int32_t r = first; r < last; r++)
    for (int32_t c = first; c < r; c++) h[(size_t)r * K + c] = h[(size_t)c * K + r];
}

void gram(const float* x, float* h, float* rows, int32_t M, int32_t K) {
  if (M == 0 || K == 0) return;
  float total = *rows + M, kept = *rows / total, share = 2 / total;
  *rows = total;
  int32_t across = ceilDivide(K, GRAM_COLS), down = ceilDivide(K, GRAM_ROWS);
  parallelFor(across * down, [&](int32_t task) {
    int32_t m = task / across * GRAM_ROWS, n = task % across * GRAM_COLS;
    if (n + GRAM_COLS > m) gramTile(x, h, M, K, m, n, kept, share);
  });
  constexpr int32_t SIDE = 64;
  parallelFor(ceilDivide(K, SIDE), [&](int32_t task) {
    int32_t first = task * SIDE, last = K - first < SIDE ? K : first + SIDE;
    gramMirror(h, K, first, last);
  });
}

}  // namespace LOWBIT_ISA
