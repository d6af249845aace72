#include "simd.h"

namespace LOWBIT_ISA {

/* Values searched at a time: whether one is found with vectors, which only in the block that has one. */
constexpr int32_t finiteBlock = 1 << 12;
/* Values that a task searches. */
constexpr int32_t finiteTask = 1 << 18;

template <class T> static void checkWords(const T* x, T magnitude, T limit, int32_t* index, int32_t count) {
  int32_t found = count;
  parallelFor((count - 1) / finiteTask + 1, [&](int32_t task) {
    int32_t end = count - task * finiteTask < finiteTask ? count : (task + 1) * finiteTask;
    for (int32_t start = task * finiteTask; start < end; start += finiteBlock) {
      if (start >= __atomic_load_n(&found, __ATOMIC_RELAXED)) return;
      int32_t n = end - start < finiteBlock ? end - start : finiteBlock;
      T largest = 0;
      for (int32_t i = 0; i < n; i++) {
        T word = x[start + i] & magnitude;
        largest = word > largest ? word : largest;
      }
      if (largest < limit) continue;
      int32_t first = start;
      while ((x[first] & magnitude) < limit) first++;
      int32_t known = __atomic_load_n(&found, __ATOMIC_RELAXED);
      while (first < known &&
             !__atomic_compare_exchange_n(&found, &known, first, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
      return;
    }
  });
  *index = found == count ? -1 : found;
}

void checkFinite(const void* x, int32_t dtype, int32_t limit, int32_t* index, int32_t count) {
  if (count == 0) *index = -1;
  else if (dtype == FLOAT32) checkWords((const uint32_t*)x, 0x7fffffffu, (uint32_t)limit, index, count);
  else checkWords((const uint16_t*)x, (uint16_t)0x7fff, (uint16_t)limit, index, count);
}

}  // namespace LOWBIT_ISA
