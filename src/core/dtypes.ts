// Made from native/types.def by `node native/def.mjs`; edit that file instead.

/**
 * Every dtype: its number in the kernels' ABI, its bytes per value, and the typed array that holds its raw
 * bits. float16, bfloat16 and float8 are bit patterns: JavaScript has no such numbers on Node 20.
 */
export const dtypes = {
  float32: { code: 0, bytes: 4, array: Float32Array, floating: true },
  float16: { code: 1, bytes: 2, array: Uint16Array, floating: true },
  bfloat16: { code: 2, bytes: 2, array: Uint16Array, floating: true },
  float8_e4m3fn: { code: 3, bytes: 1, array: Uint8Array, floating: true },
  float8_e5m2: { code: 4, bytes: 1, array: Uint8Array, floating: true },
  float8_e4m3fnuz: { code: 5, bytes: 1, array: Uint8Array, floating: true },
  int8: { code: 6, bytes: 1, array: Int8Array, floating: false },
  uint8: { code: 7, bytes: 1, array: Uint8Array, floating: false },
  int32: { code: 8, bytes: 4, array: Int32Array, floating: false },
  int64: { code: 9, bytes: 8, array: BigInt64Array, floating: false },
  bool: { code: 10, bytes: 1, array: Uint8Array, floating: false },
  float8_e8m0fnu: { code: 11, bytes: 1, array: Uint8Array, floating: true },
} as const
