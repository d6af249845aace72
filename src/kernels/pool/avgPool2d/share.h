#pragma once
#include "../maxPool2d/window.h"
#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* The inputs of one output along one axis; see share.ts. */
struct PoolShare {
  int32_t start, end, counted;
  PoolShare(const PoolAxis& axis, int32_t i) {
    start = axis.start(i);
    end = axis.end(i);
    counted = (end < axis.size + axis.padding ? end : axis.size + axis.padding) - start;
    start = start < 0 ? 0 : start;
    end = end < axis.size ? end : axis.size;
  }
};

/* output(o, rows, cols, divisor) for every output o of a plane. */
template <class Output>
INLINE void eachAverage(const PoolAxis& h, const PoolAxis& w, bool countPadding, int32_t divisor,
                        Output output) {
  size_t o = 0;
  for (int32_t oh = 0; oh < h.outSize; oh++) {
    PoolShare rows(h, oh);
    for (int32_t ow = 0; ow < w.outSize; ow++, o++) {
      PoolShare cols(w, ow);
      int32_t values =
          countPadding ? rows.counted * cols.counted : (rows.end - rows.start) * (cols.end - cols.start);
      output(o, rows, cols, divisor != 0 ? divisor : values);
    }
  }
}

}  // namespace LOWBIT_ISA
