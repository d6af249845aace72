#pragma once
#include "codebook.h"

/* What the codes of a run stand for. */

namespace LOWBIT_ISA {

/* The words of a run, one row a lane; those of tileRun. */
template <int qtype> struct QmatmulRun {
  u32v words[TileRun<qtype>::words];
};

template <int qtype> INLINE QmatmulRun<qtype> qmatmulRun(const uint8_t* from) {
  QmatmulRun<qtype> run;
  for (int i = 0; i < TileRun<qtype>::words; i++) run.words[i] = loadAs<u32v>(from + i * 64);
  return run;
}

/* The value of code j of each lane's run. */
template <int qtype> INLINE f32v qmatmulDecode(const QmatmulRun<qtype>& run, int j) {
  if constexpr (isCodebook<qtype>) return codebookDecode<qtype>(run.words[0], j);
#if LANES == 16
  /* The table look-up reads the low four bits of each lane and ignores the rest. */
  if constexpr (qtype == QINT4) {
    const f32v integers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return _mm512_permutexvar_ps((__m512i)(run.words[0] >> Plane<4, 0>::bitOf(j)), integers);
  }
#endif
  if constexpr (isSigned<qtype>) return convert((i32v)(run.words[0] << (24 - 8 * j)) >> 24);
  u32v code = runCode<qtype>(j, [&](int i) __attribute__((always_inline)) { return run.words[i]; });
  if constexpr (float8Of(qtype) >= 0) return decodeSmall<float8Of(qtype), f32v>(code);
  return convert((i32v)code);
}

/*
 * Code j of each lane's word, a float of 8 bits that is finite: mantissa and exponent in float32's places,
 * and the sign, which leaves copies on its way, as in decodeSmall.
 */
template <int qtype> INLINE f32v float8Decode(u32v word, int j) {
  constexpr SmallFloat f = smallFloat<float8Of(qtype)>;
  constexpr int right = f.mantissaBits + 1;
  u32v moved = (u32v)((i32v)(word << (24 - 8 * j)) >> right);
  return floatOf(moved & (0x80000000u | 0x7f000000u >> right)) * floatOf((254u - f.bias) << 23);
}

/*
 * One row of x does not have codes moved within their word, or within four bytes that are made of several
 * planes or by a look-up: they are masked where they stand.
 */

/* The bits of a code's place in the word where it stands. */
template <int qtype> constexpr int inPlaceBits = TileRun<qtype>::words == 1 ? TileRun<qtype>::bits : 8;

/* The place of code j of a run as qmatmulInPlace gives it. */
template <int qtype> constexpr int qmatmulPlace(int j) {
#if LANES <= 8
  if (hasByteValues<qtype>) return codebookPlace<qtype>;
#endif
  constexpr int bits = inPlaceBits<qtype>;
  int place = 8 * (j % 4) + (bits < 8 ? bits * (j / 4) : 0);
  /* The highest place is that of the sign. */
  return isAffine<qtype> && place + bits < 32 ? place : 0;
}

/* 2^place · code j of each lane's run, as a float. */
template <int qtype> INLINE f32v qmatmulInPlace(const QmatmulRun<qtype>& run, int j) {
  if constexpr (float8Of(qtype) >= 0) return float8Decode<qtype>(run.words[0], j);
#if LANES <= 8
  if constexpr (hasByteValues<qtype>) return codebookInPlace<qtype>(run.words[0], j);
#endif
  if constexpr (!isAffine<qtype>) return qmatmulDecode<qtype>(run, j);
  constexpr int bits = inPlaceBits<qtype>;
  u32v word = run.words[0];
  if constexpr (TileRun<qtype>::words > 1)
    word = runQuad<qtype>(j / 4, [&](int i) __attribute__((always_inline)) { return run.words[i]; });
  int place = 8 * (j % 4) + (bits < 8 ? bits * (j / 4) : 0);
  return convert((i32v)(place + bits < 32 ? word & (((1u << bits) - 1) << place) : word >> place));
}

/* The larger of bytes from 0 to 255, four in a lane. */
INLINE u32v maxBytes(u32v a, u32v b) {
#if LANES == 16
  return (u32v)_mm512_max_epu8((__m512i)a, (__m512i)b);
#elif LANES == 8
  return (u32v)_mm256_max_epu8((__m256i)a, (__m256i)b);
#elif defined(__SSE4_1__)
  return (u32v)_mm_max_epu8((__m128i)a, (__m128i)b);
#elif defined(__wasm_simd128__)
  return (u32v)wasm_u8x16_max((v128_t)a, (v128_t)b);
#else
  return (u32v)vmaxq_u8((uint8x16_t)a, (uint8x16_t)b);
#endif
}

/*
 * Bytes of a word's codes of which one above float8Largest is no finite float: the only NaN of fnuz is 0x80.
 */
template <int qtype> INLINE u32v float8Marks(u32v word) {
  return smallFloat<float8Of(qtype)>.fnuz ? word ^ 0x7f7f7f7fu : word & 0x7f7f7f7fu;
}
template <int qtype> INLINE bool float8Finite(u32v largest) {
  constexpr SmallFloat f = smallFloat<float8Of(qtype)>;
  uint8_t bytes[4 * LANES];
  storeAs(bytes, largest);
  for (uint8_t byte : bytes)
    if (byte > (f.fnuz ? 0xfe : f.largest)) return false;
  return true;
}

}  // namespace LOWBIT_ISA
