/** The number of each operation in the kernels' ABI. */
export const unaryInt8Ops = { neg: 0, relu: 1 } as const

/**
 * y = −x or max(x, 0), code by code; −(−128) is 127.
 * quanto's negation wraps, which moves the perplexity of stories260K with quantized outputs from 6.911 to
 * 6.936 (int4) and from 5.967 to 5.973 (int8): it turns q and k by their position with it.
 * @param op one of `unaryInt8Ops`
 * @param x [count] int8
 * @param y [count] int8
 */
export function unaryInt8(op: number, x: Uint8Array, y: Uint8Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const code = (x[i] << 24) >> 24
    y[i] = op === unaryInt8Ops.neg ? Math.min(-code, 127) : Math.max(code, 0)
  }
}
