#pragma once
#include "round.h"

/* Codes of one byte: from values and to values. */

namespace LOWBIT_ISA {

/* The integer codes of values x in units of the scale, as floats; that of NaN is 0. */
INLINE f32v quantizeWhole(f32v x, int32_t qtype) {
  float smallest = qtype == QINT8 ? -128.0f : 0.0f;
  float largest = qtype == QINT8 ? 127.0f : qtype == QINT5 ? 31.0f : qtype == QINT4 ? 15.0f : 3.0f;
  f32v whole = roundHalfEven(max(splat(smallest), min(splat(largest), x)));
  return select(x == x, whole, splat(0.0f));
}

/* The codes of values x in units of the scale, at codes. */
INLINE void quantizeEncode(f32v x, int32_t qtype, uint8_t* codes) {
  if (float8Of(qtype) >= 0) {
    float largest = qtype == QFLOAT8_E4M3FN ? 448.0f : qtype == QFLOAT8_E5M2 ? 57344.0f : 240.0f;
    storeFloat(codes, float8Of(qtype), 0, max(splat(-largest), min(splat(largest), x)));
    return;
  }
  storeAs(codes, __builtin_convertvector(convert(quantizeWhole(x, qtype)), u8v));
}

/* The values of LANES codes. */
INLINE f32v dequantizeDecode(const uint8_t* codes, int32_t qtype) {
  if (float8Of(qtype) >= 0) return loadFloat(codes, float8Of(qtype), 0);
  i32v unsignedCodes = widenBytes(loadAs<u8v>(codes));
  return convert(qtype == QINT8 ? unsignedCodes << 24 >> 24 : unsignedCodes);
}

/* The values of the codes of x. */
INLINE f32v quantizeNearest(f32v x, int32_t qtype) {
  /* No code is -0, but a value may round to it. */
  if (float8Of(qtype) < 0) return quantizeWhole(x, qtype) + 0.0f;
  uint8_t codes[LANES];
  quantizeEncode(x, qtype, codes);
  return dequantizeDecode(codes, qtype);
}

/* Values per task. */
constexpr int32_t codesPiece = 1 << 14;

/* body(first, end) for pieces of count values, on the threads of the pool. */
template <class Body> INLINE void eachPiece(int32_t count, Body body) {
  parallelFor((int32_t)(((int64_t)count + codesPiece - 1) / codesPiece), [&](int32_t piece) {
    int32_t first = piece * codesPiece;
    body(first, count - first < codesPiece ? count : first + codesPiece);
  });
}

}  // namespace LOWBIT_ISA
