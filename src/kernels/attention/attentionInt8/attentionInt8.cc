#include "../attention/rows.h"

namespace LOWBIT_ISA {

/* Keys or values as floats, one per thread. Whole vectors are written, whole tiles of columns read. */
struct Int8KeyBlock {
  alignas(64) float floats[ATTENTION_KEYS * PANEL_DEPTH + 2 * LANES];
};

/* Keys and values of a head as int8 in groups of columns, each with its scale, made floats block by block. */
struct AttentionCodes {
  const uint8_t *k, *v;
  const float *kScale, *vScale;
  int32_t headSize, groupSize;
  static constexpr size_t stride = PANEL_DEPTH;

  const float* keys(int32_t token, int32_t count, int32_t i, int32_t depth) const {
    return floats(k, kScale, token, count, i, depth);
  }
  const float* values(int32_t token, int32_t count, int32_t i, int32_t depth) const {
    return floats(v, vScale, token, count, i, depth);
  }

 private:
  static void dequantize(const uint8_t* codes, float scale, int32_t n, float* to) {
    int32_t c = 0;
    for (; c + LANES <= n; c += LANES) {
      /* Signed bytes as unsigned ones, 128 more. */
      i32v wide = widenBytes(loadAs<u8v>(codes + c) ^ (uint8_t)0x80) - 128;
      store(to + c, convert(wide) * scale);
    }
    for (; c < n; c++) to[c] = (float)(int8_t)codes[c] * scale;
  }

  const float* floats(const uint8_t* codes, const float* scales, int32_t token, int32_t count, int32_t i,
                      int32_t depth) const {
    float* block = scratchHere<Int8KeyBlock>().floats;
    int32_t groups = (headSize + groupSize - 1) / groupSize;
    for (int32_t c = i, group = i / groupSize; c < i + depth; group++) {
      int32_t end = (group + 1) * groupSize;
      if (end > i + depth) end = i + depth;
      const uint8_t* from = codes + (size_t)token * headSize + c;
      const float* scale = scales + (size_t)token * groups + group;
      for (int32_t t = 0; t < count; t++, from += headSize, scale += groups)
        dequantize(from, *scale, end - c, block + t * stride + c - i);
      c = end;
    }
    return block;
  }
};

void attentionInt8(const float* q, const float* k, const float* v, const float* recentK, const float* recentV,
                   const uint8_t* keyCodes, const float* keyScale, const uint8_t* valueCodes,
                   const float* valueScale, const float* bias, const int32_t* ranges,
                   const int32_t* positions, const float* sinks, float* y, int32_t batch, int32_t tokens,
                   int32_t heads, int32_t kvHeads, int32_t headSize, int32_t position, int32_t capacity,
                   int32_t residual, int32_t groupSize, int32_t window, int32_t biasBatch, int32_t biasHead,
                   int32_t biasToken, float scale, float softcap) {
  AttentionCall call = {
      q,     y,     bias,  (size_t)biasBatch, (size_t)biasHead, (size_t)biasToken, ranges, positions,
      sinks, batch, tokens, heads,            kvHeads,          headSize,          position, window,
      scale, softcap};
  int32_t groups = (headSize + groupSize - 1) / groupSize;
  eachAttention(
      call, call.keys(), [&](const AttentionRows& rows, int32_t b, int32_t kvHead, int32_t t, int32_t step) {
        int32_t start = call.first(b), end = start + tokens;
        AttentionSpan span = call.span(b, t, step, end, 1);
        size_t head = (size_t)b * kvHeads + kvHead, codes = head * capacity * headSize,
               scales = head * capacity * groups;
        int32_t full = start + t + 1 - residual;
        AttentionSpan coded = span.sliding(span.slidingLow, full).within(0, capacity);
        attendTo(rows,
                 AttentionCodes{keyCodes + codes, valueCodes + codes, keyScale + scales, valueScale + scales,
                                headSize, groupSize},
                 coded);
        if (residual == 0) return;
        AttentionSpan floats = span.sliding(full, span.slidingHigh);
        /* The ring's last tokens start anew at `turn`; those before stand behind them. */
        int32_t turn = start > 0 ? (start - 1) / residual * residual : 0;
        size_t ring = head * residual * headSize;
        const float *ringK = recentK + ring, *ringV = recentV + ring;
        attendTo(rows, AttentionFloats{ringK, ringV, (size_t)headSize, turn - residual},
                 floats.within(start - residual, turn));
        attendTo(rows, AttentionFloats{ringK, ringV, (size_t)headSize, turn}, floats.within(turn, start));
        size_t own = ((size_t)b * tokens * kvHeads + kvHead) * headSize;
        attendTo(rows, AttentionFloats{k + own, v + own, (size_t)kvHeads * headSize, start},
                 floats.within(start, end));
      });
}

}  // namespace LOWBIT_ISA
