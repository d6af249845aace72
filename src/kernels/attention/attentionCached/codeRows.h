#pragma once
#include "../attention/decoded.h"
#include "../cacheQuantize/codes.h"

namespace LOWBIT_ISA {

/* Codes of a head, one token after another, as cacheQuantize writes them. */
struct CodeRows {
  const uint8_t* codes;
  const void *scale, *shift; /* shift may be absent */
  int32_t scaleDtype, bits, headSize;
  int32_t groupTokens; /* that share the scales of each value; 0 where a token has one for each run */
  int32_t first;       /* token in the first row */

  void decode(int32_t token, int32_t count, int32_t i, int32_t depth, float* to) const {
    token -= first;
    for (int32_t t = 0; t < count; t++, to += TILE_STRIDE) {
      if (groupTokens == 0) decodeToken(token + t, i, depth, to);
      else decodeOfGroup(token + t, t == 0, i, depth, to);
    }
  }

 private:
  const uint8_t* codesOf(int32_t token, int32_t c) const {
    return codes + (size_t)token * codeBytes(headSize, bits) + codeBytes(c, bits);
  }

  /* A token with a scale for each run. */
  void decodeToken(int32_t token, int32_t i, int32_t depth, float* to) const {
    size_t groups = (headSize + CODE_RUN - 1) / CODE_RUN;
    eachRun(i, i + depth, [&](int32_t c, int32_t n) {
      size_t at = token * groups + c / CODE_RUN;
      float factor = readFloat(scale, scaleDtype, at), least = shift ? readFloat(shift, scaleDtype, at) : 0;
      decodeRun(codesOf(token, c), n, to + c - i, [&](f32v code, int32_t) { return code * factor + least; });
    });
  }

  /* A token that shares each value's scale with others: those of a group are read once. */
  void decodeOfGroup(int32_t token, bool first, int32_t i, int32_t depth, float* to) const {
    AttentionBlock& block = scratchHere<AttentionBlock>();
    if (first || token % groupTokens == 0) {
      size_t at = (size_t)(token / groupTokens) * headSize + i;
      decodeFloats(scale, scaleDtype, at, depth, block.scale);
      decodeFloats(shift, scaleDtype, at, depth, block.shift);
    }
    eachRun(i, i + depth, [&](int32_t c, int32_t n) {
      const float *factor = block.scale + c - i, *least = block.shift + c - i;
      decodeRun(codesOf(token, c), n, to + c - i,
                [&](f32v code, int32_t k) { return code * load(factor + k) + load(least + k); });
    });
  }

  /* to [n] = value(code, column); whole vectors are written. */
  template <class Value>
  void decodeRun(const uint8_t* from, int32_t n, float* to, const Value& value) const {
    if (bits == 8) {
      for (int32_t c = 0; c < n; c += LANES) {
        /* Signed bytes as unsigned ones, 128 more. */
        i32v wide = widenBytes(bytesUpTo(from + c, n - c) ^ (uint8_t)0x80) - 128;
        store(to + c, value(convert(wide), c));
      }
      return;
    }
    /* The high bits last: what is written behind the low ones is theirs. */
    int32_t half = (n + 1) / 2;
    for (int32_t c = 0; c < half; c += LANES)
      store(to + c, value(convert(widenBytes(bytesUpTo(from + c, half - c)) & 15), c));
    for (int32_t c = 0; c < half; c += LANES)
      store(to + half + c, value(convert(widenBytes(bytesUpTo(from + c, half - c)) >> 4), half + c));
  }

  /* The first n bytes, or LANES of them; zeros behind them. */
  static u8v bytesUpTo(const uint8_t* from, int32_t n) {
    if (n >= LANES) return loadAs<u8v>(from);
    u8v bytes = {};
    for (int32_t c = 0; c < n; c++) bytes[c] = from[c];
    return bytes;
  }
};

}  // namespace LOWBIT_ISA
