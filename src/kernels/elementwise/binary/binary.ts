/** The number of each operation in the kernels' ABI. */
export const binaryOps = { add: 0, sub: 1, mul: 2, div: 3 } as const

/** In the order of their numbers. */
const functions: readonly ((a: number, b: number) => number)[] = [
  (a, b) => a + b,
  (a, b) => a - b,
  (a, b) => a * b,
  (a, b) => a / b,
]

/**
 * y[r,c] = a[r,c] ∘ b[r·bRowStride + c], rounded once to float32.
 * @param op one of `binaryOps`
 * @param a [rows, cols] float32
 * @param b [rows, cols] float32, or with bRowStride 0 one row [cols] for all
 * @param y [rows, cols] float32
 */
export function binary(
  op: number,
  a: Float32Array,
  b: Float32Array,
  y: Float32Array,
  rows: number,
  cols: number,
  bRowStride: number,
): void {
  const f = functions[op]
  for (let r = 0; r < rows; r++) {
    // One float64 operation rounded to float32 equals the float32 operation: 53 bits are more than twice 24.
    for (let c = 0; c < cols; c++) y[r * cols + c] = f(a[r * cols + c], b[r * bRowStride + c])
  }
}
