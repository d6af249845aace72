#pragma once
#include "simd.h"

namespace LOWBIT_ISA {

/* Values of a head that share a scale where a token has its own, and that are packed together. */
constexpr int32_t CODE_RUN = 64;

/* Bytes of the codes of one token, up to value i: a run's start, or the end of the head. */
INLINE size_t codeBytes(int32_t i, int32_t bits) {
  if (bits == 8) return i;
  return (size_t)(i / CODE_RUN) * (CODE_RUN / 2) + (i % CODE_RUN + 1) / 2;
}

/* body(c, n) for every run of the columns from i to before end; i is a run's start. */
template <class Body> INLINE void eachRun(int32_t i, int32_t end, const Body& body) {
  for (int32_t c = i; c < end; c += CODE_RUN) body(c, end - c < CODE_RUN ? end - c : CODE_RUN);
}

}  // namespace LOWBIT_ISA
