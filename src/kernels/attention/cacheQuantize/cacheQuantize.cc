#include "../../reduce/reduce/row.h"
#include "../attention/decoded.h"
#include "codes.h"

namespace LOWBIT_ISA {

/* What codes stand for: shift + scale · code. Both are as in the cache; a scale of 0 or NaN has codes 0. */
struct CodeScale {
  float scale, shift;
};

/* One for values from least to most, or from -most to most without shifts. */
static CodeScale codeScale(float least, float most, bool shifted, int32_t bits, int32_t scaleDtype) {
  float from = shifted ? least : 0;
  float steps = shifted ? (float)((1 << bits) - 1) : (float)((1 << (bits - 1)) - 1);
  if (!(most - from < __builtin_inff())) return {__builtin_nanf(""), shifted ? __builtin_nanf("") : 0};
  return {roundTo((most - from) / steps, scaleDtype), shifted ? roundTo(from, scaleDtype) : 0};
}

/* Where the new tokens of a head are, and where their codes go. */
struct CacheHead {
  FloatRows own, recent; /* from `start` on, and the ring of those before */
  int32_t start, tokens, residual;
  uint8_t* codes;
  void *scale, *shift;
  int32_t scaleDtype, bits, headSize, capacity;

  /* Its row, and that of its scales: the last `capacity` tokens have one. */
  int32_t rowOf(int32_t token) const { return token % capacity; }

  /* Columns i … i + depth - 1 of a token. */
  void values(int32_t token, int32_t i, int32_t depth, float* to) const {
    if (token >= start) own.decode(token, 1, i, depth, to);
    else recent.decode(token % residual, 1, i, depth, to);
  }

  void keep(size_t at, CodeScale s) const {
    writeFloat(scale, scaleDtype, at, s.scale);
    if (shift) writeFloat(shift, scaleDtype, at, s.shift);
  }

  /* Codes of a token's values x, whose scales and shifts are given value by value. */
  void encode(int32_t token, int32_t i, int32_t depth, const float* x, const AttentionBlock& block) const {
    float low = shift ? 0 : (float)(1 - (1 << (bits - 1)));
    float high = shift ? (float)((1 << bits) - 1) : -low;
    uint8_t* row = codes + (size_t)rowOf(token) * codeBytes(headSize, bits);
    eachRun(i, i + depth, [&](int32_t c, int32_t n) {
      uint8_t run[CODE_RUN];
      for (int32_t j = 0; j < n; j += LANES) {
        f32v factor = load(block.scale + c - i + j), least = load(block.shift + c - i + j);
        f32v steps = roundHalfEven((load(x + c - i + j) - least) / factor);
        i32v code = convert(select(factor > 0, min(splat(high), max(splat(low), steps)), f32v{}));
        storeAs(run + j, narrowBytes(code));
      }
      uint8_t* to = row + codeBytes(c, bits);
      if (bits == 8) {
        __builtin_memcpy(to, run, n);
        return;
      }
      int32_t half = (n + 1) / 2;
      for (int32_t j = 0; j < half; j++) to[j] = run[j] | (j + half < n ? run[j + half] << 4 : 0);
    });
  }

  /* A token with a scale for each run of its values. */
  void quantizeToken(int32_t token) const {
    AttentionBlock& block = scratchHere<AttentionBlock>();
    size_t groups = (headSize + CODE_RUN - 1) / CODE_RUN;
    for (int32_t i = 0; i < headSize; i += PANEL_DEPTH) {
      int32_t depth = headSize - i < PANEL_DEPTH ? headSize - i : PANEL_DEPTH;
      float* x = block.floats;
      values(token, i, depth, x);
      eachRun(i, i + depth, [&](int32_t c, int32_t n) {
        auto run = [&](int32_t j, int32_t rest) { return loadUpTo(x + c - i + j, rest); };
        float largest = rowAbsMax(n, run);
        RowRange range = shift ? rowRange(n, run) : RowRange{0, largest};
        CodeScale s = codeScale(range.least, largest < __builtin_inff() ? range.most : largest, shift, bits,
                                scaleDtype);
        keep(rowOf(token) * groups + c / CODE_RUN, s);
        for (int32_t j = 0; j < n; j += LANES) {
          store(block.scale + c - i + j, splat(s.scale));
          store(block.shift + c - i + j, splat(s.shift));
        }
      });
      encode(token, i, depth, x, block);
    }
  }

  /* `count` tokens that share a scale for each of their values. */
  void quantizeGroup(int32_t first, int32_t count) const {
    AttentionBlock& block = scratchHere<AttentionBlock>();
    for (int32_t i = 0; i < headSize; i += PANEL_DEPTH) {
      int32_t depth = headSize - i < PANEL_DEPTH ? headSize - i : PANEL_DEPTH;
      for (int32_t t = 0; t < count; t++) values(first + t, i, depth, block.floats + t * TILE_STRIDE);
      for (int32_t c = 0; c < depth; c++) {
        float least = __builtin_inff(), most = -__builtin_inff();
        bool finite = true;
        for (int32_t t = 0; t < count; t++) {
          float x = block.floats[t * TILE_STRIDE + c];
          finite = finite && x - x == 0;
          least = x < least ? x : least;
          most = x > most ? x : most;
        }
        CodeScale s = codeScale(least, finite ? most : __builtin_inff(), true, bits, scaleDtype);
        keep((size_t)(rowOf(first) / count) * headSize + i + c, s);
        block.scale[c] = s.scale;
        block.shift[c] = s.shift;
      }
      for (int32_t t = 0; t < count && rowOf(first) + t < capacity; t++)
        encode(first + t, i, depth, block.floats + t * TILE_STRIDE, block);
    }
  }
};

void cacheQuantize(const void* x, const void* recent, int32_t dtype, uint8_t* codes, void* scale, void* shift,
                   int32_t scaleDtype, const int32_t* positions, int32_t batch, int32_t tokens, int32_t heads,
                   int32_t headSize, int32_t position, int32_t capacity, int32_t residual, int32_t bits,
                   int32_t groupTokens) {
  size_t groups = groupTokens > 0 ? (size_t)((capacity + groupTokens - 1) / groupTokens) * headSize
                                  : (size_t)capacity * ((headSize + CODE_RUN - 1) / CODE_RUN);
  int32_t perTask = 32768 / (tokens * headSize) + 1, count = batch * heads;
  auto quantizeHead = [&](int32_t task) {
    int32_t b = task / heads, h = task % heads, start = firstPosition(position, positions, b);
    size_t ring = (size_t)task * residual * headSize;
    size_t own = ((size_t)b * tokens * heads + h) * headSize;
    size_t at = task * groups * bytesOf(scaleDtype);
    CacheHead head = {{placeIn(x, dtype, own), dtype, (size_t)heads * headSize, start},
                      {recent ? placeIn(recent, dtype, ring) : nullptr, dtype, (size_t)headSize, 0},
                      start,
                      tokens,
                      residual,
                      codes + (size_t)task * capacity * codeBytes(headSize, bits),
                      (uint8_t*)scale + at,
                      shift ? (uint8_t*)shift + at : nullptr,
                      scaleDtype,
                      bits,
                      headSize,
                      capacity};
    if (start < 0) return;
    int32_t end = start + tokens;
    if (groupTokens == 0) {
      for (int32_t j = start; j < end; j++) head.quantizeToken(j);
      return;
    }
    for (int32_t j = start / groupTokens * groupTokens; j + groupTokens <= end; j += groupTokens)
      head.quantizeGroup(j, groupTokens);
  };
  parallelFor((count + perTask - 1) / perTask, [&](int32_t task) {
    for (int32_t i = task * perTask; i < (task + 1) * perTask && i < count; i++) quantizeHead(i);
  });
}

}  // namespace LOWBIT_ISA
