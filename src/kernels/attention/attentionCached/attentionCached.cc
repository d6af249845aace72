#include "codeRows.h"

namespace LOWBIT_ISA {

void attentionCached(const float* q, const void* k, const void* v, const void* recentK, const void* recentV,
                     int32_t dtype, const uint8_t* keyCodes, const void* keyScale, const void* keyShift,
                     const uint8_t* valueCodes, const void* valueScale, const void* valueShift,
                     int32_t scaleDtype, const float* bias, const int32_t* ranges, const int32_t* positions,
                     const float* sinks, float* y, int32_t batch, int32_t tokens, int32_t heads,
                     int32_t kvHeads, int32_t headSize, int32_t position, int32_t capacity, int32_t residual,
                     int32_t bits, int32_t groupTokens, int32_t window, int32_t biasBatch, int32_t biasHead,
                     int32_t biasToken, float scale, float softcap) {
  AttentionCall call = {
      q,     y,     bias,  (size_t)biasBatch, (size_t)biasHead, (size_t)biasToken, ranges, positions,
      sinks, batch, tokens, heads,            kvHeads,          headSize,          position, window,
      scale, softcap};
  /* A head's codes, and the scales of its keys and of its values. */
  size_t codeSize = capacity * codeBytes(headSize, bits);
  size_t valueGroups = (size_t)capacity * ((headSize + CODE_RUN - 1) / CODE_RUN);
  size_t keyGroups =
      groupTokens > 0 ? (size_t)((capacity + groupTokens - 1) / groupTokens) * headSize : valueGroups;
  auto codesOf = [&](const uint8_t* codes, const void* scales, const void* shifts, size_t head, size_t groups,
                     int32_t shared, int32_t first) {
    const void* shift = shifts ? placeIn(shifts, scaleDtype, head * groups) : nullptr;
    return CodeRows{codes + head * codeSize, placeIn(scales, scaleDtype, head * groups), shift, scaleDtype,
                    bits, headSize, shared, first};
  };
  eachAttention(
      call, call.keys(), [&](const AttentionRows& rows, int32_t b, int32_t kvHead, int32_t t, int32_t step) {
        int32_t start = call.first(b), end = start + tokens, full = start + t + 1 - residual;
        AttentionSpan span = call.span(b, t, step, end, 1);
        size_t head = (size_t)b * kvHeads + kvHead;
        AttentionSpan coded = span.sliding(span.slidingLow, full);
        /* Rows start anew every `capacity` tokens. */
        int32_t low = coded.low > coded.slidingLow ? coded.low : coded.slidingLow;
        for (int32_t first = capacity > 0 ? low / capacity * capacity : end; first < end; first += capacity)
          attendTo(rows,
                   AttentionDecoded<CodeRows>{
                       codesOf(keyCodes, keyScale, keyShift, head, keyGroups, groupTokens, first),
                       codesOf(valueCodes, valueScale, valueShift, head, valueGroups, 0, first)},
                   coded.within(first, first + capacity));
        if (residual == 0) return;
        AttentionSpan floats = span.sliding(full, span.slidingHigh);
        /* The ring's last tokens start anew at `turn`; those before stand behind them. */
        int32_t turn = start > 0 ? (start - 1) / residual * residual : 0;
        size_t ring = head * residual * headSize;
        const void *ringK = placeIn(recentK, dtype, ring), *ringV = placeIn(recentV, dtype, ring);
        attendToFloats(rows, ringK, ringV, dtype, headSize, turn - residual,
                       floats.within(start - residual, turn));
        attendToFloats(rows, ringK, ringV, dtype, headSize, turn, floats.within(turn, start));
        size_t own = ((size_t)b * tokens * kvHeads + kvHead) * headSize;
        attendToFloats(rows, placeIn(k, dtype, own), placeIn(v, dtype, own), dtype,
                       (size_t)kvHeads * headSize, start, floats.within(start, end));
      });
}

}  // namespace LOWBIT_ISA
