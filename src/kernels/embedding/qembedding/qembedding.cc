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

/* Scale and shift of one row. */
INLINE float qembeddingScale(const TiledWeights& w, int32_t n, int32_t group) {
  return readFloat(w.scale, w.scaleDtype, ((size_t)(n / 16) * w.groups + group) * 16 + n % 16);
}
INLINE float qembeddingShift(const TiledWeights& w, int32_t n, int32_t group, float scale) {
  if (!w.offset) return 0;
  if (w.offsetDtype != UINT8)
    return readFloat(w.offset, w.offsetDtype, ((size_t)(n / 16) * w.groups + group) * 16 + n % 16);
  size_t word = ((size_t)(n / 16) * tileWords(8, w.groups) + group / 4) * 16 + n % 16;
  return scale * (float)((const uint8_t*)w.offset)[word * 4 + group % 4];
}

template <int qtype> static void qembeddingRow(const TiledWeights& w, int32_t n, float* y) {
  constexpr int columns = TileRun<qtype>::columns;
  for (int32_t k = 0; k < w.K; k += columns) {
    /* Runs never cross a group: groups are multiples of 32 columns, or the row. */
    int32_t group = k / w.groupSize;
    float scale = qembeddingScale(w, n, group), shift = qembeddingShift(w, n, group, scale);
    /* tileRun serves rows that are multiples of the lanes; word n % 16 of the tile is this row's. */
    const uint8_t* run = tileRun<qtype>(w, n / 16 * 16, k) + n % 16 * 4;
    for (int j = 0; j < columns && k + j < w.K; j++) {
      float scaled = scale * qembeddingValue<qtype>(run, j);
      y[k + j] = w.offset ? scaled - shift : scaled;
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
                int32_t K, int32_t groupSize) {
  const TiledWeights w = tiledWeights(codes, scale, offset, scaleDtype, offsetDtype, K, groupSize);
  withQType(qtype, [&](auto type) { qembeddingRows<decltype(type)::value>(w, ids, y, count); });
}

}  // namespace LOWBIT_ISA
