#include "simd.h"

namespace LOWBIT_ISA {

/* Values per task. */
constexpr int32_t binaryPiece = 1 << 15;

template <class F>
INLINE void binaryApply(const float* a, const float* b, float* y, int32_t rows, int32_t cols,
                        int32_t bRowStride, F f) {
  if (bRowStride == cols) {
    /* b lies as a does: one long row. */
    cols *= rows;
    rows = 1;
  }
  int32_t rowsPerTask = cols < binaryPiece ? binaryPiece / cols : 1;
  int32_t piecesPerRow = (int32_t)(((int64_t)cols + binaryPiece - 1) / binaryPiece);
  parallelFor((rows + rowsPerTask - 1) / rowsPerTask * piecesPerRow, [&](int32_t task) {
    int32_t firstRow = task / piecesPerRow * rowsPerTask;
    int32_t lastRow = rows - firstRow < rowsPerTask ? rows : firstRow + rowsPerTask;
    int32_t start = task % piecesPerRow * binaryPiece;
    int32_t end = cols - start < binaryPiece ? cols : start + binaryPiece;
    for (int32_t r = firstRow; r < lastRow; r++) {
      const float* aRow = a + (size_t)r * cols;
      const float* bRow = b + (size_t)r * bRowStride;
      float* yRow = y + (size_t)r * cols;
      int32_t c = start;
      for (; c <= end - LANES; c += LANES) store(yRow + c, f(load(aRow + c), load(bRow + c)));
      if (c < end)
        storePartial(yRow + c, f(loadPartial(aRow + c, end - c), loadPartial(bRow + c, end - c)), end - c);
    }
  });
}

void binary(int32_t op, const float* a, const float* b, float* y, int32_t rows, int32_t cols,
            int32_t bRowStride) {
  if (rows <= 0 || cols <= 0) return;
  switch (op) {
    case 0: return binaryApply(a, b, y, rows, cols, bRowStride, [](f32v a, f32v b) { return a + b; });
    case 1: return binaryApply(a, b, y, rows, cols, bRowStride, [](f32v a, f32v b) { return a - b; });
    case 2: return binaryApply(a, b, y, rows, cols, bRowStride, [](f32v a, f32v b) { return a * b; });
    case 3: return binaryApply(a, b, y, rows, cols, bRowStride, [](f32v a, f32v b) { return a / b; });
    default: __builtin_trap();
  }
}

}  // namespace LOWBIT_ISA
