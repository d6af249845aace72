#pragma once
/* What instructions of x86 compute, written out lane by lane, for processors that lack them. */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

namespace emulated {

/* A vector as an array. */
template <class T, class V> struct Lanes {
  static constexpr int count = sizeof(V) / sizeof(T);
  T lane[count] = {};

  Lanes() = default;
  Lanes(V v) { memcpy(lane, &v, sizeof v); }
  T& operator[](int i) { return lane[i]; }
  operator V() const {
    V v;
    memcpy(&v, lane, sizeof v);
    return v;
  }
};

/* Of each lane, and of two vectors' lanes, what `value` makes of them. */
template <class From, class To, class Result, class V, class Value> Result each(V v, Value value) {
  Lanes<From, V> from(v);
  Lanes<To, Result> to;
  for (int i = 0; i < to.count; i++) to[i] = (To)value(from[i]);
  return to;
}
template <class T, class V, class Value> V both(V a, V b, Value value) {
  Lanes<T, V> first(a), second(b), to;
  for (int i = 0; i < to.count; i++) to[i] = value(first[i], second[i]);
  return to;
}

/* sums + Σ of four products of unsigned and signed bytes, in each lane: vpdpbusd. */
template <class V> V dotBytes(V sums, V bytes, V signedBytes) {
  Lanes<uint32_t, V> to(sums);
  Lanes<uint8_t, V> a(bytes);
  Lanes<int8_t, V> b(signedBytes);
  for (int i = 0; i < a.count; i++) to[i / 4] += (uint32_t)(a[i] * b[i]);
  return to;
}

}  // namespace emulated
