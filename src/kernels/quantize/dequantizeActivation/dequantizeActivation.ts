import { decodeFloat } from '../../../core/halves.ts'
import { qtypesByCode } from '../../../core/qtype.ts'

/**
 * y[i] = scale · q, q the value of codes[i].
 * @param codes [count] int8 or float8
 * @param scale [1] float32
 * @param y [count] float32
 */
export function dequantizeActivation(
  codes: Uint8Array,
  scale: Float32Array,
  y: Float32Array,
  count: number,
  qtype: number,
): void {
  const { dtype } = qtypesByCode[qtype]
  for (let i = 0; i < count; i++)
    y[i] = scale[0] * (dtype === 'int8' ? (codes[i] << 24) >> 24 : decodeFloat(dtype, codes[i]))
}
