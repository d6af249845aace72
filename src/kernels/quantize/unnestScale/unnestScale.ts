import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'

/**
 * y[i] = v(codes[i]) · values[⌊i / blockSize⌋] + offset, each operation rounded to float32: scales that were
 * quantized once more. v(c) is codebook[c], or the 8-bit float c, or c − zero of an integer.
 * Source: bitsandbytes 0.50, functional.py, `dequantize_4bit` of a nested state; ggml, ggml-quants.c.
 * @param codes [count] uint8, int8, float8_e4m3fn or float8_e8m0fnu
 * @param codebook [256] for uint8 codes, or null
 * @param values [⌈count / blockSize⌉] float32 or float16
 * @param offset one value, or null
 * @param y [count]
 */
export function unnestScale(
  codes: HostArray,
  dtype: number,
  zero: number,
  codebook: Float32Array | null,
  values: HostArray,
  valuesDtype: number,
  offset: Float32Array | null,
  y: Float32Array,
  count: number,
  blockSize: number,
): void {
  const name = dtypeOfCode(dtype)
  const plain = name === 'uint8' || name === 'int8' ? codes : toNumbers(name, codes)
  const blocks = toNumbers(dtypeOfCode(valuesDtype), values)
  for (let i = 0; i < count; i++) {
    const code = Number(plain[i])
    const value = codebook ? codebook[code] : code - zero
    y[i] = Math.fround(value * blocks[Math.floor(i / blockSize)]) + (offset ? offset[0] : -0)
  }
}
