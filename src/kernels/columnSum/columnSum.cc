#include "../reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* Columns that are summed together, and stretches of rows that are summed apart where columns are too few to share out. */
constexpr int32_t columnPiece = 64;
constexpr int32_t columnStretches = 16;

/* sums[c] = Σ x[r,c] over the given rows, for the cols <= columnPiece columns from x on. */
static void columnSums(const float* x, double* sums, int32_t firstRow, int32_t lastRow, int32_t cols, int32_t stride) {
  for (int32_t c = 0; c < cols; c++) sums[c] = 0;
  for (int32_t r = firstRow; r < lastRow; r++) {
    const float* row = x + (size_t)r * stride;
    int32_t c = 0;
    for (; c <= cols - HALF; c += HALF) storeAs(sums + c, loadAs<f64v>(sums + c) + widen(row + c));
    for (; c < cols; c++) sums[c] += row[c];
  }
}

void columnSum(const float* x, float* y, int32_t rows, int32_t cols) {
  int32_t pieces = (cols + columnPiece - 1) / columnPiece;
  auto width = [&](int32_t piece) { return cols - piece * columnPiece < columnPiece ? cols - piece * columnPiece : columnPiece; };
  if (pieces >= columnStretches || (int64_t)rows * cols < rowPiece) {
    int32_t perTask = rows * columnPiece < rowPiece ? rowPiece / (rows * columnPiece + 1) + 1 : 1;
    parallelFor((pieces + perTask - 1) / perTask, [&](int32_t task) {
      for (int32_t piece = task * perTask; piece < (task + 1) * perTask && piece < pieces; piece++) {
        double sums[columnPiece];
        columnSums(x + piece * columnPiece, sums, 0, rows, width(piece), cols);
        for (int32_t c = 0; c < width(piece); c++) y[piece * columnPiece + c] = (float)sums[c];
      }
    });
    return;
  }
  for (int32_t piece = 0; piece < pieces; piece++) {
    double sums[columnStretches][columnPiece];
    parallelFor(columnStretches, [&](int32_t s) {
      int32_t first = (int32_t)((int64_t)rows * s / columnStretches), last = (int32_t)((int64_t)rows * (s + 1) / columnStretches);
      columnSums(x + piece * columnPiece, sums[s], first, last, width(piece), cols);
    });
    for (int32_t c = 0; c < width(piece); c++) {
      double sum = 0;
      for (int32_t s = 0; s < columnStretches; s++) sum += sums[s][c];
      y[piece * columnPiece + c] = (float)sum;
    }
  }
}

}  // namespace LOWBIT_ISA
