#include "rows.h"

namespace LOWBIT_ISA {

void attention(const float* q, const float* k, const float* v, const float* bias, const int32_t* ranges,
               float* y, int32_t batch, int32_t tokens, int32_t heads, int32_t kvHeads, int32_t headSize,
               int32_t position, int32_t capacity, int32_t causal, int32_t window, int32_t biasBatch,
               int32_t biasHead, int32_t biasToken, float scale, float softcap) {
  AttentionCall call = {q,      y,      bias,  (size_t)biasBatch, (size_t)biasHead, (size_t)biasToken,
                        batch,  tokens, heads, kvHeads,           headSize,         scale,
                        softcap};
  int32_t keys = causal ? position + tokens : capacity;
  if (window > 0 && window + tokens < keys) keys = window + tokens;
  eachAttention(
      call, keys, [&](const AttentionRows& rows, int32_t b, int32_t kvHead, int32_t t, int32_t step) {
        AttentionSpan span =
            attentionSpan(ranges ? ranges + 2 * b : nullptr, capacity, causal, window, position + t, step);
        size_t cache = ((size_t)b * kvHeads + kvHead) * capacity * headSize;
        attendTo(rows, AttentionFloats{k + cache, v + cache, (size_t)headSize, 0}, span);
      });
}

}  // namespace LOWBIT_ISA
