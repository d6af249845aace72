#include "decoded.h"

namespace LOWBIT_ISA {

void attention(const float* q, const void* k, const void* v, int32_t dtype, const float* bias,
               const int32_t* ranges, const int32_t* positions, const float* sinks, float* y, int32_t batch,
               int32_t tokens, int32_t heads, int32_t kvHeads, int32_t headSize, int32_t position, int32_t capacity,
               int32_t causal, int32_t window, int32_t biasBatch, int32_t biasHead, int32_t biasToken,
               float scale, float softcap) {
  AttentionCall call = {
      q,     y,     bias,  (size_t)biasBatch, (size_t)biasHead, (size_t)biasToken, ranges, positions,
      sinks, batch, tokens, heads,            kvHeads,          headSize,          position, window,
      scale, softcap};
  int32_t keys = causal ? call.keys() : capacity;
  eachAttention(
      call, keys, [&](const AttentionRows& rows, int32_t b, int32_t kvHead, int32_t t, int32_t step) {
        size_t cache = ((size_t)b * kvHeads + kvHead) * capacity * headSize;
        attendToFloats(rows, placeIn(k, dtype, cache), placeIn(v, dtype, cache), dtype, headSize, 0,
                       call.span(b, t, step, capacity, causal));
      });
}

}  // namespace LOWBIT_ISA
