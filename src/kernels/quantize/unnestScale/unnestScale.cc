#include "../quantize/codes.h"

namespace LOWBIT_ISA {

/* y[i] for the blocks of a run of them, one value each. */
template <class Value>
static void nestedBlocks(const void* values, int32_t valuesDtype, float offset, float* y, int32_t count,
                         int32_t blockSize, const Value& value) {
  int32_t blocks = (int32_t)(((int64_t)count + blockSize - 1) / blockSize), perTask = 16384 / blockSize + 1;
  parallelFor((blocks + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t b = task * perTask; b < (task + 1) * perTask && b < blocks; b++) {
      float factor = readFloat(values, valuesDtype, b);
      int32_t first = b * blockSize, end = count - first < blockSize ? count : first + blockSize;
      for (int32_t i = first; i < end; i++) y[i] = value(i) * factor + offset;
    }
  });
}

void unnestScale(const void* codes, int32_t dtype, int32_t zero, const float* codebook, const void* values,
                 int32_t valuesDtype, const float* offset, float* y, int32_t count, int32_t blockSize) {
  auto each = [&](auto value) {
    /* x + -0 is x, the sign of a zero included. */
    nestedBlocks(values, valuesDtype, offset ? *offset : -0.0f, y, count, blockSize, value);
  };
  const uint8_t* bytes = (const uint8_t*)codes;
  if (codebook) return each([=](int32_t i) { return codebook[bytes[i]]; });
  if (dtype == UINT8) return each([=](int32_t i) { return (float)(bytes[i] - zero); });
  if (dtype == INT8) return each([=](int32_t i) { return (float)(int8_t)bytes[i]; });
  each([=](int32_t i) { return toFloat(bytes[i], dtype); });
}

}  // namespace LOWBIT_ISA
