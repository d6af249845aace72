import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, roundTo } from '../../../core/halves.ts'
import { qtypesByCode } from '../../../core/qtype.ts'
import { tileUnpack } from '../../layout/tileUnpack/tileUnpack.ts'
import { codeValues } from '../../quantize/quantize/quantize.ts'
import { type GroupEncoding, plainGroups, untileScales, untileShifts } from './groupValues.ts'

/**
 * y[m,n] = Σₖ x[m,k] · W[n,k] + bias[n], or transposed, as the gradient of that by x, y[m,k] = Σₙ x[m,n] ·
 * W[n,k] + bias[k]; with W[n,k] = scale[n,g] · q[n,k] − shift[n,g] and g = ⌊k /
 * groupSize⌋.
 *
 * Unsigned types have an offset: a shift, or a zero point z, whose shift is scale · z; the others have none.
 * Scales and shifts are floats, or codes (groupValues.ts).
 * @param x [M, K] float32; transposed: [M, N]
 * @param w [N, K] codes, tiles of the type's bits (see tilePack)
 * @param scale [N, groups] float32, float16 or bfloat16, tiles of as many bits; groups = ⌈K / groupSize⌉
 * @param offset [N, groups] shifts: float32, float16 or bfloat16; zero points: uint8, tiles of 8 bits; absent
 * for signed types
 * @param bias [N] float32, may be absent; transposed: [K]
 * @param y [M, N] float32; transposed: [M, K]
 * @param groupSize columns that share a scale: K, or a multiple of 16
 * @param span [2] int32, may be absent: the first row of x and y, and the one behind the last, known when the
 * kernel runs; the others are neither read nor written
 * @param computeDtype bfloat16: x, and W as float32, are rounded to it before they are multiplied; or
 * float32. Sums are not rounded
 * @param encoding of scales and offsets: plainGroups, or what codes are; the zero point of all groups
 */
export function qmatmul(
  x: Float32Array,
  w: Uint8Array,
  qtype: number,
  scale: HostArray,
  offset: HostArray | null,
  scaleDtype: number,
  offsetDtype: number,
  bias: Float32Array | null,
  y: Float32Array,
  M: number,
  N: number,
  K: number,
  groupSize: number,
  transposed: number,
  span: Int32Array | null,
  computeDtype: number,
  ...encoding: GroupEncoding
): void {
  const floats = dequantizeTiles(w, qtype, scale, offset, scaleDtype, offsetDtype, N, K, groupSize, encoding)
  const [values, weights] =
    dtypeOfCode(computeDtype) === 'bfloat16' ? [x, floats].map(inBfloat16) : [x, floats]
  const [outputs, inputs] = transposed ? [K, N] : [N, K]
  const [outputStride, inputStride] = transposed ? [1, K] : [K, 1]
  for (let m = span?.[0] ?? 0; m < (span?.[1] ?? M); m++) {
    for (let o = 0; o < outputs; o++) {
      let sum = bias ? bias[o] : 0
      for (let i = 0; i < inputs; i++)
        sum += values[m * inputs + i] * weights[o * outputStride + i * inputStride]
      y[m * outputs + o] = sum
    }
  }
}

function inBfloat16(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values, (value) => roundTo('bfloat16', Math.fround(value)))
}

/** W[n,k] = scale[n,g] · q[n,k] − shift[n,g], [N, K] float64, of tile-packed codes, scales and offsets. */
export function dequantizeTiles(
  w: Uint8Array,
  qtype: number,
  scale: HostArray,
  offset: HostArray | null,
  scaleDtype: number,
  offsetDtype: number,
  N: number,
  K: number,
  groupSize: number,
  encoding: GroupEncoding = plainGroups,
): Float64Array {
  const groups = Math.ceil(K / groupSize)
  const scales = untileScales(scale, scaleDtype, N, groups, encoding)
  const shifts = untileShifts(offset, offsetDtype, scales, N, groups, encoding)
  return untileCodes(w, qtype, N, K).map((q, i) => {
    const g = Math.floor(i / K) * groups + Math.floor((i % K) / groupSize)
    return scales[g] * q - shifts[g]
  })
}

/** The values that tile-packed codes stand for, [N, K] float64. */
export function untileCodes(w: Uint8Array, qtype: number, N: number, K: number): Float64Array {
  const type = qtypesByCode[qtype]
  const codes = new Uint8Array(N * K)
  tileUnpack(w, codes, type.bits, N, K)
  return codeValues(type, codes)
}
