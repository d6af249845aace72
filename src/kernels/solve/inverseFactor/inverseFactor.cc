#include "panel.h"

namespace LOWBIT_ISA {

/* Columns of a block of the factorization, and of a panel of the inverse; whole tiles of columns. */
constexpr int32_t SIDE = 64;
constexpr size_t SIDE_2 = (size_t)SIDE * SIDE;

/* A pivot of less than so much of its diagonal is nothing but rounding. */
constexpr float LEAST_PIVOT = 16 * 0x1p-23f;

/* What is done to a matrix [cols, cols] of which only the lower triangle is read. */
struct Triangle {
  float* a;
  int32_t cols;
  float* inverses; /* [blocks][SIDE, SIDE], of the blocks on the diagonal */
  float* panel;    /* [max(cols, SIDE), SIDE] */
  int32_t width(int32_t first) const { return cols - first < SIDE ? cols - first : SIDE; }
};

/* One per thread. */
struct InverseTile {
  alignas(64) float sum[SIDE * SIDE];
};

/* body(first, count) for stretches of the rows from `from` on, of some 20 microseconds each. */
template <class Body> static void eachStretch(int32_t from, int32_t cols, int32_t depth, Body body) {
  int32_t rows = 1000000 / SIDE / (depth + 1) / TILE_ROWS * TILE_ROWS + TILE_ROWS;
  parallelFor(ceilDivide(cols - from, rows), [&](int32_t task) {
    int32_t first = from + task * rows;
    body(first, cols - first < rows ? cols - first : rows);
  });
}

/* The block on the diagonal becomes its Cholesky factor, and its inverse is written; whether it has one. */
static bool factorBlock(const Triangle& t, int32_t first, const float* diagonal) {
  int32_t width = t.width(first);
  float* inverse = t.inverses + first / SIDE * SIDE_2;
  double lower[SIDE * SIDE], inverted[SIDE * SIDE];
  for (int32_t i = 0; i < width; i++) {
    for (int32_t j = 0; j <= i; j++) {
      double rest = t.a[(size_t)(first + i) * t.cols + first + j];
      for (int32_t k = 0; k < j; k++) rest -= lower[i * SIDE + k] * lower[j * SIDE + k];
      if (i > j) lower[i * SIDE + j] = rest / lower[j * SIDE + j];
      else if (rest > LEAST_PIVOT * diagonal[first + i]) lower[i * SIDE + i] = __builtin_sqrt(rest);
      else return false;
    }
  }
  __builtin_memset(inverse, 0, SIDE_2 * sizeof(float));
  for (int32_t j = 0; j < width; j++) {
    for (int32_t i = j; i < width; i++) {
      double sum = i == j;
      for (int32_t k = j; k < i; k++) sum -= lower[i * SIDE + k] * inverted[k * SIDE + j];
      inverted[i * SIDE + j] = sum / lower[i * SIDE + i];
      inverse[i * SIDE + j] = (float)inverted[i * SIDE + j];
    }
  }
  return true;
}

/* The lower triangle becomes its Cholesky factor, block by block, but for the blocks on the diagonal. */
static bool factorTriangle(const Triangle& t, const float* diagonal) {
  int32_t cols = t.cols;
  for (int32_t first = 0; first < cols; first += SIDE) {
    int32_t width = t.width(first);
    if (first > 0) {
      transposeRows<FLOAT32>(t.a, (size_t)first * cols, cols, width, first, t.panel, SIDE);
      for (int32_t k = 0; k < first; k++)
        for (int32_t c = 0; c < SIDE; c++) t.panel[k * SIDE + c] = c < width ? -t.panel[k * SIDE + c] : 0;
      eachStretch(first, cols, first, [&](int32_t r, int32_t rows) {
        float* y = t.a + (size_t)r * cols;
        for (int32_t k = 0; k < first; k += PANEL_DEPTH) {
          int32_t depth = first - k < PANEL_DEPTH ? first - k : PANEL_DEPTH;
          multiplyPanel(y + k, cols, rows, t.panel + k * SIDE, SIDE, depth, y + first, cols, y + first, cols,
                        width);
        }
      });
    }
    if (!factorBlock(t, first, diagonal)) return false;
    transposeRows<FLOAT32>(t.inverses + first / SIDE * SIDE_2, 0, SIDE, SIDE, SIDE, t.panel, SIDE);
    eachStretch(first + width, cols, width, [&](int32_t r, int32_t rows) {
      float* y = t.a + (size_t)r * cols + first;
      /* A tile of rows is copied before it is written. */
      multiplyPanel(y, cols, rows, t.panel, SIDE, width, nullptr, 0, y, cols, width);
    });
  }
  return true;
}

/* inverse [blocks][cols, SIDE], panels of columns of the factor's inverse, zeros above the diagonal. */
static void invertTriangle(const Triangle& t, float* inverse) {
  int32_t cols = t.cols;
  parallelFor(ceilDivide(cols, SIDE), [&](int32_t block) {
    float *sum = scratchHere<InverseTile>().sum, *x = inverse + (size_t)block * cols * SIDE;
    int32_t from = block * SIDE;
    __builtin_memset(x, 0, (size_t)from * SIDE * sizeof(float));
    __builtin_memcpy(x + (size_t)from * SIDE, t.inverses + block * SIDE_2,
                     (size_t)t.width(from) * SIDE * sizeof(float));
    for (int32_t first = from + SIDE; first < cols; first += SIDE) {
      int32_t width = t.width(first);
      const float* rows = t.a + (size_t)first * cols;
      for (int32_t k = from; k < first; k += PANEL_DEPTH) {
        int32_t depth = first - k < PANEL_DEPTH ? first - k : PANEL_DEPTH;
        const float* start = k > from ? sum : nullptr;
        multiplyPanel(rows + k, cols, width, x + (size_t)k * SIDE, SIDE, depth, start, SIDE, sum, SIDE, SIDE);
      }
      for (int32_t i = 0; i < width * SIDE; i++) sum[i] = -sum[i];
      multiplyPanel(t.inverses + first / SIDE * SIDE_2, SIDE, width, sum, SIDE, width, nullptr, 0,
                    x + (size_t)first * SIDE, SIDE, SIDE);
    }
  });
}

/*
 * a[i, j], j <= i, is h of the columns order[cols - 1 - i] and order[cols - 1 - j], and more on the diagonal.
 */
static void reversed(const float* h, const int32_t* order, float more, const Triangle& t) {
  int32_t cols = t.cols;
  eachStretch(0, cols, cols / SIDE, [&](int32_t first, int32_t rows) {
    for (int32_t i = first; i < first + rows; i++) {
      const float* row = h + (size_t)order[cols - 1 - i] * cols;
      float* to = t.a + (size_t)i * cols;
      for (int32_t j = 0; j <= i; j++) to[j] = row[order[cols - 1 - j]];
      to[i] = (to[i] == 0 ? 1 : to[i]) + more;
    }
  });
}

static bool allFinite(const float* h, int32_t cols) {
  f32v none = {};
  for (int32_t i = 0; i < cols; i++) {
    for (int32_t j = 0; j < cols; j += LANES) {
      f32v x = loadUpTo(h + (size_t)i * cols + j, cols - j);
      none += x - x;
    }
  }
  return sum(none) == 0;
}

/* factor [cols, cols]: the inverse turned about its other diagonal, zeros above the diagonal. */
static void writeFactor(const float* inverse, float* factor, int32_t cols) {
  eachStretch(0, cols, cols / SIDE, [&](int32_t first, int32_t rows) {
    for (int32_t j = first; j < first + rows; j++) {
      int32_t column = cols - 1 - j;
      const float* from = inverse + (size_t)(column / SIDE) * cols * SIDE + column % SIDE;
      float* to = factor + (size_t)j * cols;
      for (int32_t i = 0; i <= j; i++) to[i] = from[(size_t)(cols - 1 - i) * SIDE];
      __builtin_memset(to + j + 1, 0, (size_t)(cols - 1 - j) * sizeof(float));
    }
  });
}

void inverseFactor(const float* h, const int32_t* order, float damp, float step, float* factor, float* damped,
                   uint8_t* work, int32_t cols) {
  int32_t blocks = ceilDivide(cols, SIDE);
  float* inverses = (float*)work;
  float* inverse = inverses + blocks * SIDE_2;
  Triangle t{factor, cols, inverses, inverse + (size_t)blocks * cols * SIDE};
  if (!allFinite(h, cols)) {
    __builtin_memset(factor, 0, (size_t)cols * cols * sizeof(float));
    for (int32_t i = 0; i < cols; i++) factor[(size_t)i * (cols + 1)] = 1;
    *damped = __builtin_nanf("");
    return;
  }
  double mean = 0;
  for (int32_t i = 0; i < cols; i++) {
    float value = h[(size_t)i * (cols + 1)];
    mean += value == 0 ? 1 : value;
  }
  for (float d = damp;; d = d < 1 ? d + step : 2 * d) {
    reversed(h, order, (float)(d * mean / cols), t);
    /* The diagonal, for pivots to be compared with, where the inverse is to come. */
    for (int32_t i = 0; i < cols; i++) inverse[i] = factor[(size_t)i * (cols + 1)];
    if (!factorTriangle(t, inverse)) continue;
    invertTriangle(t, inverse);
    writeFactor(inverse, factor, cols);
    *damped = d;
    return;
  }
}

}  // namespace LOWBIT_ISA
