#pragma once
#include "../../reduce/reduce/row.h"
#include "round.h"

/* Codes of one byte: from values and to values. */

namespace LOWBIT_ISA {

/*
 * How the values of a row become units of its scale, each operation rounded to dtype; 0 where the scale is.
 * Without branches, since it stands in loops: adding -0 changes nothing.
 */
template <int dtype> struct Units {
  float scale, inverse, shift;
  int32_t kept;
  bool reciprocal;

  Units(const void* scales, const void* shifts, int32_t at, bool reciprocal)
      : scale(readFloat(scales, dtype, at)),
        inverse(LOWBIT_ISA::roundTo(1 / scale, dtype)),
        shift(shifts ? readFloat(shifts, dtype, at) : -0.0f),
        kept(scale == 0 ? 0 : -1),
        reciprocal(reciprocal) {}

  f32v of(f32v x) const {
    f32v y = roundTo<dtype>(x + shift);
    return (f32v)((i32v)roundTo<dtype>(reciprocal ? y * inverse : y / scale) & kept);
  }
};

/* The values of LANES codes. */
INLINE f32v dequantizeDecode(const uint8_t* codes, int32_t qtype) {
  if (float8Of(qtype) >= 0) return loadFloat(codes, float8Of(qtype), 0);
  i32v unsignedCodes = widenBytes(loadAs<u8v>(codes));
  if (qtypes[qtype].values == CODEBOOK) return tableValues(qtypes[qtype].codebook, (u32v)unsignedCodes);
  return convert(qtypes[qtype].values == SIGNED_CODES ? unsignedCodes << 24 >> 24 : unsignedCodes);
}

/* The value of one code of an integer type. */
INLINE float codeValue(uint8_t code, int32_t qtype) {
  return qtypes[qtype].values == SIGNED_CODES ? (float)(int8_t)code : (float)code;
}

/*
 * body(kind), kind's value the qtype if it is a float8, else QINT8: integers are all encoded alike, codebooks
 * elsewhere.
 */
template <class Body> INLINE void withCodes(int32_t qtype, Body body) {
  switch (qtype) {
    case QFLOAT8_E4M3FN: return body(Constant<QFLOAT8_E4M3FN>{});
    case QFLOAT8_E5M2: return body(Constant<QFLOAT8_E5M2>{});
    case QFLOAT8_E4M3FNUZ: return body(Constant<QFLOAT8_E4M3FNUZ>{});
    default:
      if (qtypes[qtype].values == FLOAT_CODES || qtypes[qtype].values == CODEBOOK) __builtin_trap();
      return body(Constant<QINT8>{});
  }
}

/* Which codes there are, of a kind as `withCodes` gives it. */
template <int kind> struct CodeRange {
  float low, high;

  /* x within the range; NaN stays NaN. */
  f32v clamp(f32v x) const { return max(splat(low), min(splat(high), x)); }

  /* The codes of values x in units of the scale, z the code of 0 and of what is not a number. */
  void encode(f32v x, float z, uint8_t* codes) const {
    if constexpr (float8Of(kind) >= 0) {
      storeFloat<float8Of(kind)>(codes, 0, clamp(x));
    } else {
      f32v whole = select(x == x, roundHalfEven(x) + z, splat(z));
      storeAs(codes, __builtin_convertvector(convert(clamp(whole)), u8v));
    }
  }

  /* The values of the codes of x in units of the scale, whose range is that around 0; NaN stays NaN. */
  f32v nearest(f32v x) const {
    if constexpr (float8Of(kind) >= 0) {
      uint8_t codes[LANES];
      encode(x, 0, codes);
      return loadFloat<float8Of(kind)>(codes, 0);
    } else {
      /* + 0: there is no code -0. */
      return clamp(roundHalfEven(x) + 0.0f);
    }
  }
};

/* Values per task. */
constexpr int32_t codesPiece = 1 << 14;

/* body(first, end) for pieces of count values, on the threads of the pool. */
template <class Body> INLINE void eachPiece(size_t count, Body body) {
  parallelFor((int32_t)((count + codesPiece - 1) / codesPiece), [&](int32_t piece) {
    size_t first = (size_t)piece * codesPiece;
    body(first, count - first < codesPiece ? count : first + codesPiece);
  });
}

/*
 * body(start, n, at) for the n values from start on, which share scale `at`: for every row, or, where one
 * scale serves all (a scaleStride of 0), for pieces of them.
 */
template <class Body> INLINE void eachRun(int32_t rows, int32_t cols, int32_t scaleStride, Body body) {
  if (scaleStride == 0) {
    eachPiece((size_t)rows * cols, [&](size_t first, size_t end) { body(first, (int32_t)(end - first), 0); });
  } else {
    eachRow(rows, cols, [&](int32_t r) { body((size_t)r * cols, cols, r); });
  }
}

}  // namespace LOWBIT_ISA
