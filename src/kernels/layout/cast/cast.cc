#include "simd.h"

namespace LOWBIT_ISA {

/*
 * Values per task, and per trip through float32: decoding and encoding by themselves are 6 + 6 loops,
 * together they were 36.
 */
constexpr int32_t castPiece = 1 << 16;
constexpr int32_t castBlock = 256;

void cast(const void* x, int32_t xDtype, void* y, int32_t yDtype, int32_t count) {
  parallelFor((int32_t)(((size_t)count + castPiece - 1) / castPiece), [&](int32_t piece) {
    size_t end = ((size_t)piece + 1) * castPiece;
    if (end > (size_t)count) end = count;
    for (size_t start = (size_t)piece * castPiece; start < end; start += castBlock) {
      float block[castBlock];
      int32_t n = end - start < castBlock ? (int32_t)(end - start) : castBlock;
      /* Powers of two are scales, of which there are few: one by one. */
      bool scales = xDtype == FLOAT8_E8M0FNU || yDtype == FLOAT8_E8M0FNU;
      int32_t whole = scales ? 0 : n / LANES * LANES;
      if (whole > 0) withFloat(xDtype, [&](auto type) {
        for (int32_t i = 0; i < whole; i += LANES)
          store(block + i, loadFloat<decltype(type)::value>(x, start + i));
      });
      for (int32_t i = whole; i < n; i++) block[i] = readFloat(x, xDtype, start + i);
      if (whole > 0) withFloat(yDtype, [&](auto type) {
        for (int32_t i = 0; i < whole; i += LANES)
          storeFloat<decltype(type)::value>(y, start + i, load(block + i));
      });
      for (int32_t i = whole; i < n; i++) writeFloat(y, yDtype, start + i, block[i]);
    }
  });
}

}  // namespace LOWBIT_ISA
