#pragma once
#include "simd.h"

/* Matrices of floats turned, four rows of four columns at a time. */

namespace LOWBIT_ISA {

/*
 * Rows of a matrix are read in pieces as wide as a panel is deep, too short for the processor to see what
 * comes next: they are asked for so many rows ahead.
 */
constexpr int ROWS_AHEAD = 16;

typedef float f32x4 __attribute__((vector_size(16)));

/* Four rows of four columns become four columns. */
INLINE void transpose4x4(f32x4 row[4]) {
  f32x4 a = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5),
        b = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  f32x4 c = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7),
        d = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  row[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  row[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  row[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  row[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

/*
 * to[i · toStride + r] = from[r, i] for r < rows, i < depth; from has rowStride values between rows of the
 * given float dtype.
 */
template <int dtype>
static void transposeRows(const void* from, size_t offset, size_t rowStride, int32_t rows, int32_t depth,
                          float* to, size_t toStride) {
  int32_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    size_t row = offset + r * rowStride;
    int32_t i = 0;
    auto block = [&](f32x4* lines, int32_t i) {
      transpose4x4(lines);
      for (int j = 0; j < 4; j++) storeAs(to + (i + j) * toStride + r, lines[j]);
    };
    for (; i + LANES <= depth; i += LANES) {
      f32v lines[4];
      for (int j = 0; j < 4; j++) {
        size_t at = row + j * rowStride + i;
        lines[j] = loadFloat<dtype>(from, at);
        if (i % 16 == 0)
          __builtin_prefetch((const char*)from + (at + ROWS_AHEAD * rowStride) * bytesOf(dtype));
      }
#pragma GCC unroll 4
      for (int part = 0; part < LANES / 4; part++) {
        f32x4 parts[4];
        for (int j = 0; j < 4; j++) __builtin_memcpy(&parts[j], (const char*)&lines[j] + part * 16, 16);
        block(parts, i + part * 4);
      }
    }
    for (; dtype == FLOAT32 && i + 4 <= depth; i += 4) {
      f32x4 parts[4];
      for (int j = 0; j < 4; j++) parts[j] = loadAs<f32x4>((const float*)from + row + j * rowStride + i);
      block(parts, i);
    }
    for (; i < depth; i++) {
      for (int j = 0; j < 4; j++) to[i * toStride + r + j] = readFloat(from, dtype, row + j * rowStride + i);
    }
  }
  for (; r < rows; r++) {
    for (int32_t i = 0; i < depth; i++)
      to[i * toStride + r] = readFloat(from, dtype, offset + r * rowStride + i);
  }
}

/*
 * to[r · toStride + i] = from[i · fromStride + r] for r < rows, i < depth; rows of from are readable up to a
 * multiple of 4.
 */
static inline void transposeBack(const float* from, size_t fromStride, int32_t rows, int32_t depth, float* to,
                                 size_t toStride) {
  for (int32_t r = 0; r < rows; r += 4, to += 4 * toStride) {
    int32_t count = rows - r < 4 ? rows - r : 4, i = 0;
    for (; i + 4 <= depth; i += 4) {
      f32x4 parts[4];
      for (int j = 0; j < 4; j++) parts[j] = loadAs<f32x4>(from + (i + j) * fromStride + r);
      transpose4x4(parts);
      for (int j = 0; j < count; j++) storeAs(to + j * toStride + i, parts[j]);
    }
    for (; i < depth; i++) {
      for (int j = 0; j < count; j++) to[j * toStride + i] = from[i * fromStride + r + j];
    }
  }
}

}  // namespace LOWBIT_ISA
