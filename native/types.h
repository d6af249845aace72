// Made from native/types.def by `node native/def.mjs`; edit that file instead.
#pragma once

/* Dtypes and quantized types: their numbers in the ABI, and what is known of each. A part of simd.h. */

namespace LOWBIT_ISA {

enum DType : int32_t { FLOAT32, FLOAT16, BFLOAT16, FLOAT8_E4M3FN, FLOAT8_E5M2, FLOAT8_E4M3FNUZ, INT8, UINT8, INT32, INT64, BOOL, FLOAT8_E8M0FNU };

/* Bytes per value of a dtype. */
constexpr int32_t dtypeBytes[] = { 4, 2, 2, 1, 1, 1, 1, 1, 4, 8, 1, 1 };
constexpr int32_t bytesOf(int32_t dtype) { return dtypeBytes[dtype]; }

enum QType : int32_t { QINT2, QINT4, QINT8, QFLOAT8_E4M3FN, QFLOAT8_E5M2, QFLOAT8_E4M3FNUZ, QINT5, QINT1, QINT3, QINT6, QINT7, QUINT8, NF4, FP4, E2M1, IQ4_NL };

enum QTypeValues { UNSIGNED_CODES, SIGNED_CODES, FLOAT_CODES, CODEBOOK };

struct QTypeFacts {
  int bits;
  QTypeValues values;
  int32_t float8; /* the dtype of float codes, else -1 */
  float low, high; /* the ends of its values */
  float codebook[16];
};

constexpr QTypeFacts qtypes[] = {
    {2, UNSIGNED_CODES, -1, 0.0f, 3.0f},
    {4, UNSIGNED_CODES, -1, 0.0f, 15.0f},
    {8, SIGNED_CODES, -1, -128.0f, 127.0f},
    {8, FLOAT_CODES, FLOAT8_E4M3FN, -448.0f, 448.0f},
    {8, FLOAT_CODES, FLOAT8_E5M2, -57344.0f, 57344.0f},
    {8, FLOAT_CODES, FLOAT8_E4M3FNUZ, -240.0f, 240.0f},
    {5, UNSIGNED_CODES, -1, 0.0f, 31.0f},
    {1, UNSIGNED_CODES, -1, 0.0f, 1.0f},
    {3, UNSIGNED_CODES, -1, 0.0f, 7.0f},
    {6, UNSIGNED_CODES, -1, 0.0f, 63.0f},
    {7, UNSIGNED_CODES, -1, 0.0f, 127.0f},
    {8, UNSIGNED_CODES, -1, 0.0f, 255.0f},
    {4, CODEBOOK, -1, -1.0f, 1.0f, {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f}},
    {4, CODEBOOK, -1, -1.0f, 1.0f, {0.0f, 0.0052083334885537624f, 0.6666666865348816f, 1.0f, 0.3333333432674408f, 0.5f, 0.1666666716337204f, 0.25f, 0.0f, -0.0052083334885537624f, -0.6666666865348816f, -1.0f, -0.3333333432674408f, -0.5f, -0.1666666716337204f, -0.25f}},
    {4, CODEBOOK, -1, -6.0f, 6.0f, {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f}},
    {4, CODEBOOK, -1, -127.0f, 113.0f, {-127.0f, -104.0f, -83.0f, -65.0f, -49.0f, -35.0f, -22.0f, -10.0f, 1.0f, 13.0f, 25.0f, 38.0f, 53.0f, 69.0f, 89.0f, 113.0f}},
};

/* The float8 dtype of a type's codes; -1 if they are no floats. */
constexpr int32_t float8Of(int32_t qtype) { return qtypes[qtype].float8; }

/* body(constant) with the type as a compile-time constant, as withFloat. A type that there is not ends the process. */
template <class Body> INLINE void withQType(int32_t qtype, Body&& body) {
  switch (qtype) {
    case QINT2: return body(Constant<QINT2>{});
    case QINT4: return body(Constant<QINT4>{});
    case QINT8: return body(Constant<QINT8>{});
    case QFLOAT8_E4M3FN: return body(Constant<QFLOAT8_E4M3FN>{});
    case QFLOAT8_E5M2: return body(Constant<QFLOAT8_E5M2>{});
    case QFLOAT8_E4M3FNUZ: return body(Constant<QFLOAT8_E4M3FNUZ>{});
    case QINT5: return body(Constant<QINT5>{});
    case QINT1: return body(Constant<QINT1>{});
    case QINT3: return body(Constant<QINT3>{});
    case QINT6: return body(Constant<QINT6>{});
    case QINT7: return body(Constant<QINT7>{});
    case QUINT8: return body(Constant<QUINT8>{});
    case NF4: return body(Constant<NF4>{});
    case FP4: return body(Constant<FP4>{});
    case E2M1: return body(Constant<E2M1>{});
    case IQ4_NL: return body(Constant<IQ4_NL>{});
    default: __builtin_trap();
  }
}

}  // namespace LOWBIT_ISA
