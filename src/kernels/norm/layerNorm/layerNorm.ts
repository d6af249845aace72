/**
 * y[r,c] = (x[r,c] − mean) / √(variance + ε) · weight[c] + bias[c], mean and variance of row r.
 * Source: Ba, Kiros, Hinton, "Layer Normalization", 2016, equation 3.
 * @param x [rows, cols] float32
 * @param weight [cols] float32, or null for 1
 * @param bias [cols] float32, or null for 0
 * @param y [rows, cols] float32, may be x
 */
export function layerNorm(
  x: Float32Array,
  weight: Float32Array | null,
  bias: Float32Array | null,
  epsilon: number,
  y: Float32Array,
  rows: number,
  cols: number,
): void {
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols)
    const mean = row.reduce((sum, value) => sum + value, 0) / cols
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / cols
    const deviation = Math.sqrt(variance + Math.fround(epsilon))
    for (let c = 0; c < cols; c++)
      y[r * cols + c] = ((row[c] - mean) / deviation) * (weight?.[c] ?? 1) + (bias?.[c] ?? 0)
  }
}
