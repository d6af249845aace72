#pragma once
/* Vectors to numbers, lane by lane; a part of simd.h, which includes it. */

namespace LOWBIT_ISA {

/* op over all lanes, as a tree. */
template <class V, class Op> INLINE auto fold(V v, Op op) {
#if LANES == 16
  auto half = op(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                 __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
#else
  auto half = v;
#endif
#if LANES >= 8
  auto four =
      op(__builtin_shufflevector(half, half, 0, 1, 2, 3), __builtin_shufflevector(half, half, 4, 5, 6, 7));
#else
  auto four = half;
#endif
  auto two = op(four, __builtin_shufflevector(four, four, 2, 3, 0, 1));
  return op(two, __builtin_shufflevector(two, two, 1, 0, 3, 2))[0];
}

/* In each four lanes: lanes i and j of a, then lanes i and j of b. */
template <int i, int j, class V> INLINE V twoOfEach(V a, V b) {
#if LANES == 16
  return __builtin_shufflevector(a, b, i, j, 16 + i, 16 + j, 4 + i, 4 + j, 20 + i, 20 + j, 8 + i, 8 + j,
                                 24 + i, 24 + j, 12 + i, 12 + j, 28 + i, 28 + j);
#elif LANES == 8
  return __builtin_shufflevector(a, b, i, j, 8 + i, 8 + j, 4 + i, 4 + j, 12 + i, 12 + j);
#else
  return __builtin_shufflevector(a, b, i, j, 4 + i, 4 + j);
#endif
}

/* Lane i of the result is op over all lanes of v[i]; v is worked in. */
template <class V, class Op> INLINE V foldEach(V (&v)[LANES], Op op) {
  /* First so that the four lanes that stand at place i / 4 of v[i % 4] are those of v[i]. */
#if LANES == 16
  for (int i = 0; i < 8; i++)
    v[i] = op(__builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
              __builtin_shufflevector(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29,
                                      30, 31));
  for (int i = 0; i < 4; i++)
    v[i] = op(__builtin_shufflevector(v[i], v[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26,
                                      27),
              __builtin_shufflevector(v[i], v[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30,
                                      31));
#elif LANES == 8
  for (int i = 0; i < 4; i++)
    v[i] = op(__builtin_shufflevector(v[i], v[i + 4], 0, 1, 2, 3, 8, 9, 10, 11),
              __builtin_shufflevector(v[i], v[i + 4], 4, 5, 6, 7, 12, 13, 14, 15));
#endif
  const V a = op(twoOfEach<0, 1>(v[0], v[1]), twoOfEach<2, 3>(v[0], v[1]));
  const V b = op(twoOfEach<0, 1>(v[2], v[3]), twoOfEach<2, 3>(v[2], v[3]));
  return op(twoOfEach<0, 2>(a, b), twoOfEach<1, 3>(a, b));
}

/* The sum, largest and smallest of all lanes. */
INLINE float sum(f32v v) { return fold(v, [](auto a, auto b) { return a + b; }); }
INLINE float max(f32v v) { return fold(v, [](auto a, auto b) { return a > b ? a : b; }); }
INLINE float min(f32v v) { return fold(v, [](auto a, auto b) { return a < b ? a : b; }); }
INLINE int32_t max(i32v v) { return fold(v, [](auto a, auto b) { return a > b ? a : b; }); }
INLINE int32_t min(i32v v) { return fold(v, [](auto a, auto b) { return a < b ? a : b; }); }
INLINE int32_t sum(i32v v) { return fold(v, [](auto a, auto b) { return a + b; }); }

}  // namespace LOWBIT_ISA
