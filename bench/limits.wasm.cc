// The relaxed dot product of WebAssembly on registers only: what the engine makes of it, at most. For
// bench/limits.ts.
#include <wasm_simd128.h>

// 12 chains of `iterations` dot products of 16 pairs each, so that latencies overlap; returns something that
// depends on all.
extern "C" __attribute__((export_name("dots"))) int dots(int iterations) {
  v128_t sums[12];
  for (int i = 0; i < 12; i++) sums[i] = wasm_i32x4_splat(i);
  const v128_t a = wasm_i8x16_splat(3), b = wasm_i8x16_splat(5);
  for (int n = 0; n < iterations; n++) {
#pragma clang loop unroll(full)
    for (int i = 0; i < 12; i++) sums[i] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a, b, sums[i]);
  }
  v128_t all = sums[0];
  for (int i = 1; i < 12; i++) all = wasm_i32x4_add(all, sums[i]);
  return wasm_i32x4_extract_lane(all, 0);
}
