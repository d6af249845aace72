#include "simd.h"

namespace LOWBIT_ISA {

enum OrderRule { NONE, DESCENDING, GROUPS };

INLINE float orderKey(const float* h, int32_t cols, int32_t column) {
  float value = h[(size_t)column * (cols + 1)];
  return value == 0 ? 1 : value;
}

/*
 * Sorts count columns by their diagonals, larger ones first, equal ones as they were, by merging ever longer
 * runs; `spare` has room for as many.
 */
static void sortColumns(int32_t* columns, int32_t count, int32_t* spare, const float* h, int32_t cols) {
  auto key = [&](int32_t column) { return orderKey(h, cols, column); };
  for (int32_t run = 1; run < count; run *= 2) {
    for (int32_t first = 0; first < count; first += 2 * run) {
      int32_t middle = first + run < count ? first + run : count,
              last = first + 2 * run < count ? first + 2 * run : count;
      int32_t a = first, b = middle;
      for (int32_t i = first; i < last; i++) {
        bool left = a < middle && (b == last || !(key(columns[b]) > key(columns[a])));
        spare[i] = columns[left ? a++ : b++];
      }
    }
    __builtin_memcpy(columns, spare, (size_t)count * sizeof(int32_t));
  }
}

/*
 * Groups of columns that are sorted already, in `sorted`, by the first of each; a few hundred of them, so
 * that each is found by looking at all.
 */
static void orderGroups(const int32_t* sorted, int32_t* order, const float* h, int32_t cols,
                        int32_t groupSize) {
  int32_t groups = cols / groupSize, last = -1;
  auto before = [&](int32_t a, int32_t b) {
    float x = orderKey(h, cols, sorted[a * groupSize]), y = orderKey(h, cols, sorted[b * groupSize]);
    return x > y || (x == y && a < b);
  };
  for (int32_t i = 0; i < groups; i++) {
    int32_t best = -1;
    for (int32_t g = 0; g < groups; g++)
      if ((last < 0 || before(last, g)) && (best < 0 || before(g, best))) best = g;
    if (best < 0) return; /* NaN comes before nothing */
    for (int32_t j = 0; j < groupSize; j++) order[i * groupSize + j] = sorted[best * groupSize + j];
    last = best;
  }
}

void solvingOrder(const float* h, int32_t* order, int32_t* places, int32_t rule, int32_t groupSize,
                  int32_t cols) {
  for (int32_t i = 0; i < cols; i++) order[i] = i;
  if (rule == DESCENDING) sortColumns(order, cols, places, h, cols);
  if (rule == GROUPS) {
    for (int32_t g = 0; g + groupSize <= cols; g += groupSize)
      sortColumns(order + g, groupSize, places, h, cols);
    __builtin_memcpy(places, order, (size_t)cols * sizeof(int32_t));
    orderGroups(places, order, h, cols, groupSize);
  }
  for (int32_t i = 0; i < cols; i++) places[order[i]] = i;
}

}  // namespace LOWBIT_ISA
