#include "simd.h"

namespace LOWBIT_ISA {

void groupRows(const int32_t* groups, int32_t* rows, int32_t* places, int32_t* bounds, int32_t count,
               int32_t perRow, int32_t groupCount) {
  for (int32_t g = 0; g <= groupCount; g++) bounds[g] = 0;
  for (int32_t i = 0; i < count; i++) bounds[groups[i] + 1]++;
  for (int32_t g = 0; g < groupCount; g++) bounds[g + 1] += bounds[g];
  /* Each start moves up to its group's end, which is the next one's start, and is then put back. */
  for (int32_t i = 0; i < count; i++) {
    int32_t place = bounds[groups[i]]++;
    places[i] = place;
    rows[place] = i / perRow;
  }
  for (int32_t g = groupCount; g > 0; g--) bounds[g] = bounds[g - 1];
  bounds[0] = 0;
}

}  // namespace LOWBIT_ISA
