import type { HostArray } from '../../../core/dtype.ts'
import { dtypes } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'
import { qtypesByCode, valueOfCode } from '../../../core/qtype.ts'
import { tileUnpack } from '../../layout/tileUnpack/tileUnpack.ts'

/**
 * y[m,n] = Σₖ x[m,k] · W[n,k] + bias[n], or transposed, as the gradient of that by x, y[m,k] = Σₙ x[m,n] ·
 * W[n,k] + bias[k]; with W[n,k] = scale[n,g] · q[n,k] − shift[n,g] and g = ⌊k /
 * groupSize⌋.
 *
 * Unsigned types have an offset: a shift, or a zero point z, whose shift is scale · z; the others have none.
 * @param x [M, K] float32; transposed: [M, N]
 * @param w [N, K] codes, tiles of the type's bits (see tilePack)
 * @param scale [N, groups] float32, float16 or bfloat16, tiles of as many bits; groups = ⌈K / groupSize⌉
 * @param offset [N, groups] shifts: float32, float16 or bfloat16; zero points: uint8, tiles of 8 bits; absent
 * for signed types
 * @param bias [N] float32, may be absent; transposed: [K]
 * @param y [M, N] float32; transposed: [M, K]
 * @param groupSize columns that share a scale: K, or a multiple of 32
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
): void {
  const weights = dequantizeTiles(w, qtype, scale, offset, scaleDtype, offsetDtype, N, K, groupSize)
  const [outputs, inputs] = transposed ? [K, N] : [N, K]
  const [outputStride, inputStride] = transposed ? [1, K] : [K, 1]
  for (let m = 0; m < M; m++) {
    for (let o = 0; o < outputs; o++) {
      let sum = bias ? bias[o] : 0
      for (let i = 0; i < inputs; i++) sum += x[m * inputs + i] * weights[o * outputStride + i * inputStride]
      y[m * outputs + o] = sum
    }
  }
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
): Float64Array {
  const groups = Math.ceil(K / groupSize)
  const scales = untileFloats(scale, scaleDtype, N, groups)
  const shifts = untileShifts(offset, offsetDtype, scales, N, groups)
  return untileCodes(w, qtype, N, K).map((q, i) => {
    const g = Math.floor(i / K) * groups + Math.floor((i % K) / groupSize)
    return scales[g] * q - (shifts ? shifts[g] : 0)
  })
}

/** The values that tile-packed codes stand for, [N, K] float64. */
export function untileCodes(w: Uint8Array, qtype: number, N: number, K: number): Float64Array {
  const type = qtypesByCode[qtype]
  const codes = new Uint8Array(N * K)
  tileUnpack(w, codes, type.bits, N, K)
  return Float64Array.from(codes, (code) => valueOfCode(type, code))
}

/**
 * The shifts [N, groups] that tile-packed offsets stand for; those of zero points are scale · z, rounded to
 * float32.
 */
export function untileShifts(
  offset: HostArray | null,
  dtype: number,
  scales: ArrayLike<number>,
  N: number,
  groups: number,
): ArrayLike<number> | null {
  if (!offset || dtypeOfCode(dtype) !== 'uint8') return offset && untileFloats(offset, dtype, N, groups)
  const zeros = new Uint8Array(N * groups)
  tileUnpack(offset as Uint8Array, zeros, 8, N, groups)
  return Float32Array.from(zeros, (zero, i) => scales[i] * zero)
}

/** Tile-packed float32, float16 or bfloat16 as numbers, [rows, cols]. */
export function untileFloats(
  tiles: HostArray,
  dtype: number,
  rows: number,
  cols: number,
): Float32Array | Float64Array {
  const name = dtypeOfCode(dtype)
  const values = new dtypes[name].array(rows * cols)
  const bytesOf = (array: HostArray) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
  tileUnpack(bytesOf(tiles), bytesOf(values), 8 * dtypes[name].bytes, rows, cols)
  return toNumbers(name, values)
}
