/** Rows whose shares of the gradients of weight and bias are summed together. */
export const rowsPerPartial = 16

/**
 * The gradient through y = x̂·weight + bias, x̂ = (x − mean) / √(variance + ε), of each row; not centered, x̂
 * = x / √(mean(x²) + ε).
 *
 *     g = dy·weight,  dx = (g − mean(g) − x̂·mean(g·x̂)) / √(…),  without mean(g) where not centered
 *     partial[b] = (Σ dy·x̂, Σ dy) over rows 16·b … 16·b + 15; summed over b the gradients of weight and bias
 *
 * @param centered 1 for layerNorm, 0 for rmsNorm
 * @param x [rows, cols] float32
 * @param weight [cols] float32, or null for 1
 * @param dy [rows, cols] float32
 * @param dx [rows, cols] float32
 * @param partial [⌈rows/16⌉, 2, cols] float32
 */
export function rowNormGrad(
  centered: number,
  x: Float32Array,
  weight: Float32Array | null,
  epsilon: number,
  dy: Float32Array,
  dx: Float32Array,
  partial: Float32Array,
  rows: number,
  cols: number,
): void {
  const sums = new Float64Array(partial.length)
  for (let r = 0; r < rows; r++) {
    const row = Float64Array.from(x.subarray(r * cols, (r + 1) * cols))
    const g = Float64Array.from(row, (_, c) => dy[r * cols + c] * (weight?.[c] ?? 1))
    const mean = centered ? row.reduce((sum, value) => sum + value, 0) / cols : 0
    const inverse =
      1 / Math.sqrt(row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / cols + Math.fround(epsilon))
    const normal = row.map((value) => (value - mean) * inverse)
    const meanG = centered ? g.reduce((sum, value) => sum + value, 0) / cols : 0
    const meanGx = g.reduce((sum, value, c) => sum + value * normal[c], 0) / cols
    const at = Math.floor(r / rowsPerPartial) * 2 * cols
    for (let c = 0; c < cols; c++) {
      dx[r * cols + c] = inverse * (g[c] - meanG - normal[c] * meanGx)
      sums[at + c] += dy[r * cols + c] * normal[c]
      sums[at + cols + c] += dy[r * cols + c]
    }
  }
  partial.set(sums)
}
