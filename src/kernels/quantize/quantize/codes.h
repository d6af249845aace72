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

/* What codes stand for; made before a loop over them, so that their type is looked up once. */
struct CodeValues {
  int32_t float8;        /* as float8Of */
  int32_t sign;          /* the bit of a code that is its sign */
  const float* codebook; /* or null */

  explicit CodeValues(int32_t qtype)
      : float8(float8Of(qtype)),
        sign(qtypes[qtype].values == SIGNED_CODES ? 128 : 0),
        codebook(qtypes[qtype].values == CODEBOOK ? qtypes[qtype].codebook : nullptr) {}

  /* The values of LANES codes. */
  f32v of(const uint8_t* codes) const {
    f32v values;
    if (float8 >= 0) {
      withFloat8(float8, [&](auto type) { values = loadFloat<decltype(type)::value>(codes, 0); });
      return values;
    }
    i32v whole = widenBytes(loadAs<u8v>(codes));
    return codebook ? tableValues(codebook, (u32v)whole) : convert((whole ^ sign) - sign);
  }
};

/* The value of one code of an integer type. */
INLINE float codeValue(uint8_t code, int32_t qtype) {
  return qtypes[qtype].values == SIGNED_CODES ? (float)(int8_t)code : (float)code;
}

/*
 * body(kind), whose value says whether the codes are float8: integers are all encoded alike, codebooks
 * elsewhere.
 */
template <class Body> INLINE void withCodes(int32_t qtype, Body body) {
  if (qtypes[qtype].values == CODEBOOK) __builtin_trap();
  if (float8Of(qtype) >= 0) body(Constant<true>{});
  else body(Constant<false>{});
}

/* Which codes a type has, `isFloat8` as `withCodes` gives it; of integers those from low to high. */
template <bool isFloat8> struct CodeRange {
  float low, high;
  int32_t float8; /* as float8Of */

  CodeRange(int32_t qtype, int32_t low, int32_t high)
      : low((float)low), high((float)high), float8(float8Of(qtype)) {}

  /* x within the range; NaN stays NaN. */
  f32v clamp(f32v x) const { return max(splat(low), min(splat(high), x)); }

  /* The codes of values x in units of the scale, z the code of 0 and of what is not a number. */
  void encode(f32v x, float z, uint8_t* codes) const {
    if constexpr (isFloat8) {
      withFloat8(float8, [&](auto type) { storeFloat<decltype(type)::value>(codes, 0, clamp(x)); });
    } else {
      f32v whole = select(x == x, roundHalfEven(x) + z, splat(z));
      storeAs(codes, narrowBytes(convert(clamp(whole))));
    }
  }

  /* The values of the codes of x in units of the scale, whose range is that around 0; NaN stays NaN. */
  f32v nearest(f32v x) const {
    if constexpr (!isFloat8) return clamp(roundHalfEven(x) + 0.0f); /* + 0: there is no code -0. */
    f32v values;
    withFloat8(float8, [&](auto type) { values = roundTo<decltype(type)::value>(clamp(x)); });
    return values;
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
  const bool shared = scaleStride == 0;
  const size_t count = (size_t)rows * cols, length = shared ? codesPiece : cols;
  const int32_t runs = shared ? (int32_t)((count + codesPiece - 1) / codesPiece) : rows;
  eachRow(runs, (int32_t)length, [&](int32_t r) {
    size_t start = r * length;
    body(start, (int32_t)(count - start < length ? count - start : length), shared ? 0 : r);
  });
}

}  // namespace LOWBIT_ISA
