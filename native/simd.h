#pragma once
/*
 * Vectors as wide as the target, one source for every CPU.
 *
 *   LANES        target (chosen by the compiler's flags)         f32v, i32v, u32v
 *   16           AVX-512 (F, BW, VL, DQ, VNNI)                   512 bits
 *    8           AVX2 + FMA + F16C (and AVX-VNNI)                256 bits
 *    4           SSE4.2, NEON, WebAssembly SIMD (and relaxed)    128 bits
 *
 * They are the compiler's own vector types, so + - * / & | ^ ~ << >> and comparisons are plain operators (a
 * comparison gives an i32v of 0 and -1) and `mask ? a : b` chooses lane by lane. Below are only the
 * primitives that a compiler does not find by itself. NaN survives everywhere: nothing here may be compiled
 * with -ffast-math, and only fma() fuses (-ffp-contract=off).
 */
#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#define LOWBIT_TARGET isa_avx512
#elif defined(__AVX2__)
#include <immintrin.h>
#define LANES 8
#ifdef __AVXVNNI__
#define LOWBIT_TARGET isa_avxvnni
#else
#define LOWBIT_TARGET isa_avx2
#endif
#elif defined(__SSE4_1__)
#include <immintrin.h>
#define LANES 4
#define LOWBIT_TARGET isa_sse4
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#define LANES 4
#ifdef __wasm_relaxed_simd__
#define LOWBIT_TARGET isa_relaxed
#else
#define LOWBIT_TARGET isa_simd128
#endif
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#define LANES 4
#define LOWBIT_TARGET isa_neon
#else
#error "simd.h: the target must have SSE4.1, AVX2, AVX-512, NEON or WebAssembly SIMD"
#endif

/* The namespace of this instruction set; the build may name it with -DLOWBIT_ISA=... */
#ifndef LOWBIT_ISA
#define LOWBIT_ISA LOWBIT_TARGET
#endif

#define INLINE static inline __attribute__((always_inline))
/* One function for all who call it: what is rare would only make their code larger. */
#define OUTLINE static inline __attribute__((noinline))

#include "parallel.h"
#include "scratch.h"

namespace LOWBIT_ISA {

typedef float f32v __attribute__((vector_size(LANES * 4)));
typedef int32_t i32v __attribute__((vector_size(LANES * 4)));
typedef uint32_t u32v __attribute__((vector_size(LANES * 4)));
typedef uint16_t u16v __attribute__((vector_size(LANES * 2)));
typedef uint8_t u8v __attribute__((vector_size(LANES)));

/* 1 in each byte of a word. */
constexpr uint64_t EACH_BYTE = 0x0101010101010101;

/*
 * A number that a generic lambda sees as a compile-time constant: `constexpr int n =
 * decltype(constant)::value`.
 */
template <int n> struct Constant {
  static constexpr int value = n;
};

/* ---------------------------------------------------------------- bits, loads, stores */

/* The bit pattern of x, and the value of a pattern; for one value and for vectors. */
INLINE uint32_t bitsOf(float x) { return __builtin_bit_cast(uint32_t, x); }
INLINE u32v bitsOf(f32v x) { return (u32v)x; }
INLINE float floatOf(uint32_t bits) { return __builtin_bit_cast(float, bits); }
INLINE f32v floatOf(u32v bits) { return (f32v)bits; }

/* x - 0 is x for every x, -0 and NaN included; 0 + x is not. */
INLINE f32v splat(float x) { return x - f32v{}; }
INLINE i32v splat(int32_t x) { return i32v{} + x; }
INLINE u32v splat(uint32_t x) { return u32v{} + x; }

/*
 * Hides from the compiler where v comes from, for WebAssembly, whose engines keep the order and the addresses
 * of the compiler: sums stay in the order written, with no more values alive than there are registers; a
 * pointer moves by additions, and what lies beside it is read with a constant offset.
 */
template <class V> INLINE void opaque(V& v) {
#if defined(__wasm__)
  asm volatile("" : "+r"(v));
#else
  (void)v;
#endif
}

/*
 * Keeps a sum of integers in the order it is written: GCC otherwise makes all products before it adds them,
 * and keeps them in memory.
 */
template <class V> INLINE void inOrder(V& sums) {
#if defined(__wasm__)
  asm volatile("" : "+r"(sums));
#elif LANES == 8 || defined(__SSE4_1__)
  asm("" : "+x"(sums));
#else
  (void)sums;
#endif
}

/* A vector of type V from any address, and back; no alignment needed. */
template <class V> INLINE V loadAs(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof(V));
  return v;
}
template <class V> INLINE void storeAs(void* p, V v) { __builtin_memcpy(p, &v, sizeof(V)); }

INLINE f32v load(const float* p) { return loadAs<f32v>(p); }
INLINE i32v load(const int32_t* p) { return loadAs<i32v>(p); }
INLINE void store(float* p, f32v v) { storeAs(p, v); }
INLINE void store(int32_t* p, i32v v) { storeAs(p, v); }

/* LANES numbers of 16 bits as integers. */
INLINE u32v widenHalves(u16v halves) {
#if LANES == 16
  return (u32v)_mm512_cvtepu16_epi32((__m256i)halves);
#else
  return __builtin_convertvector(halves, u32v);
#endif
}

/* The first n < LANES values, zeros behind them; nothing past them is read or written. */
INLINE f32v loadPartial(const float* p, int32_t n) {
#if LANES == 16
  return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
  f32v v = {};
  if (n > 0) v[0] = p[0];
  if (n > 1) v[1] = p[1];
  if (n > 2) v[2] = p[2];
#if LANES == 8
  if (n > 3) v[3] = p[3];
  if (n > 4) v[4] = p[4];
  if (n > 5) v[5] = p[5];
  if (n > 6) v[6] = p[6];
#endif
  return v;
#endif
}

INLINE void storePartial(float* p, f32v v, int32_t n) {
#if LANES == 16
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
#else
  if (n > 0) p[0] = v[0];
  if (n > 1) p[1] = v[1];
  if (n > 2) p[2] = v[2];
#if LANES == 8
  if (n > 3) p[3] = v[3];
  if (n > 4) p[4] = v[4];
  if (n > 5) p[5] = v[5];
  if (n > 6) p[6] = v[6];
#endif
#endif
}

/* The first n values from p, n of any sign and size. */
INLINE f32v loadUpTo(const float* p, int32_t n) {
  if (n >= LANES) return load(p);
  return n > 0 ? loadPartial(p, n) : f32v{};
}
INLINE void storeUpTo(float* p, f32v v, int32_t n) {
  if (n >= LANES) store(p, v);
  else if (n > 0) storePartial(p, v, n);
}

/*
 * Lanes first <= i < last of what lies at p, zeros elsewhere; first and last of any sign and size, but from
 * p + first to p + last all is readable. Nothing else is read.
 */
INLINE f32v loadBetween(const float* p, int32_t first, int32_t last) {
  if (first <= 0 && last >= LANES) return load(p);
#if LANES == 16
  uint32_t from = first < 0 ? 0 : first > 16 ? 16 : first, to = last < 0 ? 0 : last > 16 ? 16 : last;
  return _mm512_maskz_loadu_ps((__mmask16)(((1u << to) - 1) & ~((1u << from) - 1)), p);
#elif LANES == 8
  /* A vector from where they begin, or up to where they end: past that another line of the cache may lie. */
  const int32_t by = first > 0 ? first : last - LANES;
  const i32v lanes = {0, 1, 2, 3, 4, 5, 6, 7}, from = lanes - by;
  if (by < first || by + LANES > last)
    return _mm256_maskload_ps(p, (__m256i)((lanes >= first) & (lanes < last)));
  return (f32v)((i32v)_mm256_permutevar8x32_ps(load(p + by), (__m256i)from) & ((from & ~7) == 0));
#else
  f32v v = {};
  for (int i = 0; i < LANES; i++) if (i >= first && i < last) v[i] = p[i];
  return v;
#endif
}

/* ---------------------------------------------------------------- arithmetic */

/* a·b + c, fused where the target can (not on SSE4 and baseline WebAssembly). */
INLINE f32v fma(f32v a, f32v b, f32v c) {
#if LANES == 16
  return _mm512_fmadd_ps(a, b, c);
#elif LANES == 8
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__ARM_NEON)
  return vfmaq_f32(c, a, b);
#elif defined(__wasm_relaxed_simd__)
  return (f32v)wasm_f32x4_relaxed_madd((v128_t)a, (v128_t)b, (v128_t)c);
#else
  return a * b + c;
#endif
}

/* a > b ? a : b, so that max(a, NaN) is NaN and max(NaN, b) is b, on every target. */
INLINE f32v max(f32v a, f32v b) {
#if LANES == 16
  return _mm512_max_ps(a, b);
#elif LANES == 8
  return _mm256_max_ps(a, b);
#elif defined(__SSE4_1__)
  return _mm_max_ps(a, b);
#elif defined(__wasm_simd128__)
  return (f32v)wasm_f32x4_pmax((v128_t)b, (v128_t)a);
#else
  return a > b ? a : b;
#endif
}

/* a < b ? a : b; min(a, NaN) is NaN. */
INLINE f32v min(f32v a, f32v b) {
#if LANES == 16
  return _mm512_min_ps(a, b);
#elif LANES == 8
  return _mm256_min_ps(a, b);
#elif defined(__SSE4_1__)
  return _mm_min_ps(a, b);
#elif defined(__wasm_simd128__)
  return (f32v)wasm_f32x4_pmin((v128_t)b, (v128_t)a);
#else
  return a < b ? a : b;
#endif
}

/* The larger and the smaller of integers. */
INLINE i32v max(i32v a, i32v b) {
#if LANES == 16
  return (i32v)_mm512_max_epi32((__m512i)a, (__m512i)b);
#elif LANES == 8
  return (i32v)_mm256_max_epi32((__m256i)a, (__m256i)b);
#elif defined(__SSE4_1__)
  return (i32v)_mm_max_epi32((__m128i)a, (__m128i)b);
#elif defined(__wasm_simd128__)
  return (i32v)wasm_i32x4_max((v128_t)a, (v128_t)b);
#else
  return vmaxq_s32(a, b);
#endif
}
INLINE i32v min(i32v a, i32v b) { return ~max(~a, ~b); }

/* Lane by lane: a where mask is -1, b where it is 0. */
INLINE f32v select(i32v mask, f32v a, f32v b) { return mask ? a : b; }
INLINE i32v select(i32v mask, i32v a, i32v b) { return mask ? a : b; }
INLINE u32v select(i32v mask, u32v a, u32v b) { return mask ? a : b; }

/* Whether the mask has a lane of -1. */
INLINE bool any(i32v mask) {
#if LANES == 16
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif LANES == 8
  return _mm256_movemask_ps((__m256)mask) != 0;
#elif defined(__SSE4_1__)
  return _mm_movemask_ps((__m128)mask) != 0;
#elif defined(__wasm_simd128__)
  return wasm_v128_any_true((v128_t)mask);
#else
  return vmaxvq_u32((uint32x4_t)mask) != 0;
#endif
}

/* |x| */
INLINE f32v abs(f32v x) { return floatOf(bitsOf(x) & 0x7fffffffu); }

/* float32 → int32 towards zero, and int32 → float32 to nearest even. */
INLINE i32v convert(f32v x) { return __builtin_convertvector(x, i32v); }
INLINE f32v convert(i32v x) { return __builtin_convertvector(x, f32v); }

INLINE f32v sqrt(f32v x) {
#if LANES == 16
  return _mm512_sqrt_ps(x);
#elif LANES == 8
  return _mm256_sqrt_ps(x);
#elif defined(__SSE4_1__)
  return _mm_sqrt_ps(x);
#elif defined(__wasm_simd128__)
  return (f32v)wasm_f32x4_sqrt((v128_t)x);
#else
  return vsqrtq_f32(x);
#endif
}

/* The nearest integer, ties to even. */
INLINE f32v roundHalfEven(f32v x) {
#if LANES == 16
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif LANES == 8
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__SSE4_1__)
  return _mm_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__wasm_simd128__)
  return (f32v)wasm_f32x4_nearest((v128_t)x);
#else
  return vrndnq_f32(x);
#endif
}

/* The same as a whole number; |x| below 2^22. */
INLINE i32v roundToInt(f32v x) {
#if LANES == 16
  return (i32v)_mm512_cvtps_epi32(x);
#elif LANES == 8
  return (i32v)_mm256_cvtps_epi32(x);
#elif defined(__SSE4_1__)
  return (i32v)_mm_cvtps_epi32(x);
#elif defined(__ARM_NEON)
  return (i32v)vcvtnq_s32_f32(x);
#else
  /* Adding 1.5·2^23 leaves the rounded number in the low bits. */
  const f32v shifter = splat(12582912.0f);
  return (i32v)(x + shifter) - (i32v)shifter;
#endif
}

INLINE float roundHalfEven(float x) {
  if (!(__builtin_fabsf(x) < 8388608.0f)) return x; /* already whole, infinite or NaN */
  float whole = __builtin_fabsf(x) + 8388608.0f - 8388608.0f;
  return __builtin_copysignf(whole, x);
}

}  // namespace LOWBIT_ISA

#include "bytes.h"
#include "fold.h"
#include "types.h"
#include "dots.h"
#include "exp.h"
#include "floats.h"
