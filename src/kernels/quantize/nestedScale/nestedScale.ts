/**
 * y[i] = codebook[codes[i]] · values[⌊i / blockSize⌋] + offset, each operation rounded to float32: scales
 * that were quantized once more.
 * Source: bitsandbytes 0.50, functional.py, `dequantize_4bit` of a nested state.
 * @param codes [count]
 * @param codebook [256]
 * @param values [⌈count / blockSize⌉]
 * @param offset one value
 * @param y [count]
 */
export function nestedScale(
  codes: Uint8Array,
  codebook: Float32Array,
  values: Float32Array,
  offset: Float32Array,
  y: Float32Array,
  count: number,
  blockSize: number,
): void {
  for (let i = 0; i < count; i++) {
    y[i] = Math.fround(codebook[codes[i]] * values[Math.floor(i / blockSize)]) + offset[0]
  }
}
