#include "grid.h"
#include "panel.h"

namespace LOWBIT_ISA {

/* Rows of the weight that are solved together: lanes; whole tiles of columns of a product's panel. */
constexpr int32_t SWEEP_ROWS = 64;

struct Sweep {
  const void* weight;
  int32_t dtype;
  const float *h, *factor, *drift;
  const int32_t *order, *places;
  int32_t rows, cols, groupSize, blockSize;
  GroupChoice choice;
  bool stored, early;

  int32_t groups() const { return ceilDivide(cols, groupSize); }
  int32_t groupOf(int32_t i) const { return (stored ? i : order[i]) / groupSize; }
  float importance(int32_t column) const { return h ? h[(size_t)column * (cols + 1)] : 1; }
};

/*
 * Rows [first, first + SWEEP_ROWS) of the weight, turned: row i of `w` holds what the i-th column has of
 * them. Once a column is solved, -e of it stands there instead, and `before` keeps what it was where there
 * is a drift.
 */
struct SweepTile {
  float *w, *before, *scale, *offset;
  int32_t first, count;
};

static void loadSweepTile(const Sweep& s, const SweepTile& t) {
  for (int32_t i = 0; i < s.cols; i++) {
    int32_t column = s.order[i];
    float* to = t.w + (size_t)i * SWEEP_ROWS;
    bool dead = s.importance(column) == 0;
    for (int32_t r = 0; r < SWEEP_ROWS; r++)
      to[r] = dead || r >= t.count
                  ? 0
                  : readFloat(s.weight, s.dtype, (size_t)(t.first + r) * s.cols + column);
  }
}

template <int dtype> static void chooseGroup(const Sweep& s, const SweepTile& t, int32_t g) {
  int32_t begin = g * s.groupSize, count = s.cols - begin < s.groupSize ? s.cols - begin : s.groupSize;
  auto member = [&](int32_t j) { return s.stored ? begin + j : s.places[begin + j]; };
  for (int32_t r = 0; r < SWEEP_ROWS; r += LANES) {
    GroupGrid grid = chooseGrid<dtype>(
        count, s.choice, [&](int32_t j) { return load(t.w + (size_t)member(j) * SWEEP_ROWS + r); },
        [&](int32_t j) { return s.importance(s.order[member(j)]); });
    store(t.scale + g * SWEEP_ROWS + r, grid.scale);
    store(t.offset + g * SWEEP_ROWS + r, grid.offset);
  }
}

/*
 * The i-th column: it is moved by the columns before it in its block, which begins with `first`, and rounded.
 */
static void solveColumn(const Sweep& s, const SweepTile& t, int32_t i, int32_t first, uint8_t* codes) {
  constexpr int32_t TOGETHER = 4;
  auto row = [&](const float* of) { return of ? of + (size_t)i * s.cols : nullptr; };
  const float *moves = row(s.factor), *drifts = row(s.drift);
  int32_t g = s.groupOf(i) * SWEEP_ROWS, column = s.stored ? i : s.order[i];
  float* at = t.w + (size_t)i * SWEEP_ROWS;
  float inverse = moves ? moves[i] : 1, code[SWEEP_ROWS];
  for (int32_t r = 0; r < SWEEP_ROWS; r += TOGETHER * LANES) {
    f32v w[TOGETHER];
    for (int v = 0; v < TOGETHER; v++) w[v] = load(at + r + v * LANES);
    for (int32_t k = first; moves && k < i; k++) {
      const float* e = t.w + (size_t)k * SWEEP_ROWS + r;
      f32v by = splat(moves[k]);
      for (int v = 0; v < TOGETHER; v++) w[v] = fma(by, load(e + v * LANES), w[v]);
      if (!drifts) continue;
      const float* was = t.before + (size_t)k * SWEEP_ROWS + r;
      f32v drift = splat(drifts[k]);
      for (int v = 0; v < TOGETHER; v++) w[v] = fma(drift, load(was + v * LANES), w[v]);
    }
    for (int v = 0; v < TOGETHER; v++) {
      int32_t lane = r + v * LANES;
      GroupGrid grid{load(t.scale + g + lane), load(t.offset + g + lane)};
      f32v q = gridCode(w[v], grid, s.choice);
      store(code + lane, q);
      store(at + lane, (gridValue(q, grid, s.choice) - w[v]) / splat(inverse));
      if (drifts) store(t.before + (size_t)i * SWEEP_ROWS + lane, w[v]);
    }
  }
  for (int32_t r = 0; r < t.count; r++)
    codes[(size_t)(t.first + r) * s.cols + column] = (uint8_t)(int32_t)code[r];
}

/* What the columns from first to last move those behind them by. */
static void moveLater(const Sweep& s, const float* factor, const float* panel, float* w, int32_t first,
                      int32_t last) {
  for (int32_t k = first; k < last; k += PANEL_DEPTH) {
    int32_t depth = last - k < PANEL_DEPTH ? last - k : PANEL_DEPTH;
    float* to = w + (size_t)last * SWEEP_ROWS;
    multiplyPanel(factor + (size_t)last * s.cols + k, s.cols, s.cols - last, panel + (size_t)k * SWEEP_ROWS,
                  SWEEP_ROWS, depth, to, SWEEP_ROWS, to, SWEEP_ROWS, SWEEP_ROWS);
  }
}

template <int dtype> static void solveTile(const Sweep& s, const SweepTile& t, uint8_t* codes) {
  loadSweepTile(s, t);
  if (s.early) for (int32_t g = 0; g < s.groups(); g++) chooseGroup<dtype>(s, t, g);
  for (int32_t first = 0; first < s.cols; first += s.blockSize) {
    int32_t last = s.cols - first < s.blockSize ? s.cols : first + s.blockSize;
    if (!s.early) {
      /* A group's columns follow one another. */
      for (int32_t i = first; i < last; i++)
        if (i == 0 || s.groupOf(i) != s.groupOf(i - 1)) chooseGroup<dtype>(s, t, s.groupOf(i));
    }
    for (int32_t i = first; i < last; i++) solveColumn(s, t, i, first, codes);
    if (s.factor) moveLater(s, s.factor, t.w, t.w, first, last);
    if (s.drift) moveLater(s, s.drift, t.before, t.w, first, last);
  }
}

void gptqSweep(const void* weight, int32_t dtype, const float* h, const float* factor, const float* drift,
               const int32_t* order, const int32_t* places, uint8_t* codes, void* scale, void* shift,
               uint8_t* zeroPoint, int32_t scaleDtype, uint8_t* work, int32_t rows, int32_t cols,
               int32_t groupSize, int32_t blockSize, int32_t rule, int32_t qmin, int32_t qmax, int32_t stored,
               int32_t early, int32_t steps, float shrink) {
  GroupChoice choice{rule, steps, (float)qmin, (float)qmax, shrink};
  Sweep s{weight, dtype,     h,         factor, drift,       order,     places, rows,
          cols,   groupSize, blockSize, choice, stored != 0, early != 0};
  int32_t groups = s.groups();
  size_t tileFloats = (size_t)SWEEP_ROWS * (cols * (drift ? 2 : 1) + 2 * groups);
  parallelFor(ceilDivide(rows, SWEEP_ROWS), [&](int32_t task) {
    float* w = (float*)work + task * tileFloats;
    float* scales = w + (size_t)SWEEP_ROWS * cols * (drift ? 2 : 1);
    int32_t first = task * SWEEP_ROWS;
    SweepTile t{w,
                w + (size_t)SWEEP_ROWS * cols,
                scales,
                scales + SWEEP_ROWS * groups,
                first,
                rows - first < SWEEP_ROWS ? rows - first : SWEEP_ROWS};
    withWeightFloat(scaleDtype, [&](auto type) { solveTile<decltype(type)::value>(s, t, codes); });
    for (int32_t r = 0; r < t.count; r++) {
      for (int32_t g = 0; g < groups; g++) {
        size_t to = (size_t)(first + r) * groups + g;
        float offset = t.offset[g * SWEEP_ROWS + r];
        writeFloat(scale, scaleDtype, to, t.scale[g * SWEEP_ROWS + r]);
        if (shift) writeFloat(shift, scaleDtype, to, offset);
        if (zeroPoint) zeroPoint[to] = (uint8_t)(int32_t)offset;
      }
    }
  });
}

}  // namespace LOWBIT_ISA
