import type { HostArray } from '../../../core/dtype.ts'
import { dequantize } from '../dequantize/dequantize.ts'
import { quantize } from '../quantize/quantize.ts'

/**
 * y[r,c] = what the code of x[r,c] stands for: `dequantize(quantize(x))` of the same scales, bit for bit, in
 * one pass over x.
 * @param x [rows, cols] float32, float16 or bfloat16
 * @param scale [rows] in x's dtype
 * @param shift [rows] in x's dtype, for affine types, else null
 * @param y [rows, cols] in x's dtype
 */
export function quantizeDequantize(
  x: HostArray,
  dtype: number,
  scale: HostArray,
  shift: HostArray | null,
  y: HostArray,
  rows: number,
  cols: number,
  qtype: number,
): void {
  const codes = new Uint8Array(rows * cols)
  quantize(x, dtype, scale, shift, codes, rows, cols, qtype)
  dequantize(codes, qtype, scale, shift, y, dtype, rows, cols)
}
