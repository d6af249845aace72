#include "../../matmul/qmatmul/weights.h"

namespace LOWBIT_ISA {

/* The value of code j of a run (weights.h) of one row, whose words are 64 bytes apart. */
template <int qtype> INLINE float qembeddingValue(const uint8_t* run, int j) {
  uint32_t code =
      runCode<qtype>(j, [&](int i) __attribute__((always_inline)) { return loadAs<uint32_t>(run + i * 64); });
  if constexpr (isCodebook<qtype>) return qtypes[qtype].codebook[code];
  if constexpr (isSigned<qtype>) return (float)(int8_t)code;
  if constexpr (float8Of(qtype) >= 0) return toFloat(code, float8Of(qtype));
  return (float)code;
}

/* Value `col` of row n in tiles [N, cols]. */
INLINE float qembeddingFloat(const void* tiles, int32_t dtype, int32_t cols, int32_t n, int32_t col) {
  return readFloat(tiles, dtype, ((size_t)(n / 16) * cols + col) * 16 + n % 16);
}

/* Code `group` of row n, of 4, 6 or 8 bits, in tiles (groupValues.h). */
INLINE int32_t qembeddingCode(const void* tiles, int32_t bits, int32_t groups, int32_t n, int32_t group) {
  int32_t words = tileWords(bits, groups);
  auto word = [&](int32_t index) {
    return loadAs<uint32_t>((const uint8_t*)tiles + (((size_t)(n / 16) * words + index) * 16 + n % 16) * 4);
  };
  if (bits == 8) return word(group / 4) >> (8 * (group % 4)) & 255;
  uint32_t low = word(bits == 6 ? group / 32 * 6 + group % 32 / 8 : group / 8);
  int32_t code = low >> Plane<4, 0>::bitOf(group % 8) & 15;
  if (bits == 4) return code;
  return code | (word(group / 32 * 6 + 4 + group % 32 / 16) >> Plane<2, 4>::bitOf(group % 16) & 3) << 4;
}

/* A scale or shift of one row. */
static float qembeddingScale(const TiledWeights& w, const TiledValues& from, int32_t n, int32_t group) {
  if (!from.bits) return qembeddingFloat(from.tiles, from.dtype, w.groups, n, group);
  int32_t code = qembeddingCode(from.tiles, from.bits, w.groups, n, group);
  float value = from.dtype == UINT8  ? (float)(code - from.zero)
                : from.dtype == INT8 ? (float)(int8_t)code
                                     : toFloat(code, from.dtype);
  if (!from.values) return value;
  if (w.shared < 0) return value / readFloat(from.values, w.valueDtype, n % 16);
  if (w.shared == 0) return value * readFloat(from.values, w.valueDtype, n % 16);
  return value * qembeddingFloat(from.values, w.valueDtype, w.groups / w.shared, n, group / w.shared);
}

template <int qtype> static void qembeddingRow(const TiledWeights& w, int32_t n, float* y) {
  constexpr int columns = TileRun<qtype>::columns, piece = TileRun<qtype>::piece;
  const bool zeroPoints = !w.offset.tiles || (!w.offset.bits && w.offset.dtype == UINT8);
  float scale = 0, shift = 0, zero = 0;
  int32_t end = 0;
  for (int32_t k = 0; k < w.K; k += piece) {
    /* Pieces never cross a group: groups are multiples of 16 columns, or the row. */
    if (k == end) {
      int32_t group = k / w.groupSize;
      end = groupEnd(group, w.groupSize, w.K);
      scale = qembeddingScale(w, w.scale, n, group);
      if (!zeroPoints) shift = qembeddingScale(w, w.offset, n, group);
      else zero = (float)(w.offset.tiles ? qembeddingCode(w.offset.tiles, 8, w.groups, n, group) : w.zeroPoint);
    }
    /* tileRun serves rows that are multiples of the lanes; word n % 16 of the tile is this row's. */
    const uint8_t* run = tileRun<qtype>(w, n / 16 * 16, k) + n % 16 * 4;
    for (int j = 0; j < piece && k + j < w.K; j++) {
      float value = qembeddingValue<qtype>(run, k % columns + j);
      y[k + j] = zeroPoints ? scale * (value - zero) : scale * value - shift;
    }
  }
}

template <int qtype>
static void qembeddingRows(const TiledWeights& w, const int32_t* ids, float* y, int32_t count) {
  int32_t perTask = 16384 / w.K + 1;
  parallelFor((count + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t i = task * perTask; i < (task + 1) * perTask && i < count; i++)
      qembeddingRow<qtype>(w, ids[i], y + (size_t)i * w.K);
  });
}

void qembedding(const uint8_t* codes, int32_t qtype, const void* scale, const void* offset,
                int32_t scaleDtype, int32_t offsetDtype, const int32_t* ids, float* y, int32_t count, int32_t,
                int32_t K, int32_t groupSize, const void* scaleValues, const void* offsetValues,
                int32_t valueDtype, int32_t scaleBits, int32_t scaleZero, int32_t offsetBits, int32_t shared,
                int32_t zeroPoint) {
  const TiledWeights w =
      tiledWeights(codes, {scale, scaleDtype, scaleBits, scaleZero, scaleValues},
                   {offset, offsetDtype, offsetBits, 0, offsetValues}, valueDtype, shared, zeroPoint, K,
                   groupSize);
  withQType(qtype, [&](auto type) { qembeddingRows<decltype(type)::value>(w, ids, y, count); });
}

}  // namespace LOWBIT_ISA
