import { dtypes, type HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'
import { tileUnpack } from '../../layout/tileUnpack/tileUnpack.ts'

/*
 * Scales and offsets of groups as the kernels that multiply read them, [N, groups] in tiles: floats, zero
 * points of one byte, or codes:
 *
 *     scale = v(code) · value        v(code) = code − zero of integers, or the 8-bit float
 *
 * Codes of 4, 6 or 8 bits lie in tiles of so many bits. Values lie in tiles [N, groups / shared]: as many
 * groups of a row share one, a multiple of 8 or all; with shared = 0 one tile [16, 1] of equal values serves
 * all rows, with −1, too, and codes are divided by it. Without values a scale is v(code).
 */

/** Arguments of a product: tiles of codes, and what they stand for. */
export type TiledWeights = [
  w: Uint8Array,
  qtype: number,
  scale: HostArray,
  offset: HostArray | null,
  scaleDtype: number,
  offsetDtype: number,
]

/** The arguments behind the others. */
export type GroupEncoding = [
  scaleValues: HostArray | null,
  offsetValues: HostArray | null,
  valueDtype: number,
  /** Bits of the codes of scales; 0: floats. */
  scaleBits: number,
  scaleZero: number,
  /** Bits of the codes of shifts, uint8 from 0 up; 0: floats, or zero points. */
  offsetBits: number,
  shared: number,
  /** Of all groups, where there are no offsets. */
  zeroPoint: number,
]

/** Floats, and no zero point. */
export const plainGroups: GroupEncoding = [null, null, 0, 0, 0, 0, 0, 0]

/** The scales [N, groups] that tiles stand for. */
export function untileScales(
  scale: HostArray,
  dtype: number,
  N: number,
  groups: number,
  [values, , valueDtype, bits, zero, , shared]: GroupEncoding,
): ArrayLike<number> {
  if (bits === 0) return untileFloats(scale, dtype, N, groups)
  return decodeGroups(scale, dtype, bits, zero, values, valueDtype, shared, N, groups)
}

/**
 * The shifts [N, groups] that tiles of offsets stand for; those of zero points are scale · z, rounded to
 * float32.
 */
export function untileShifts(
  offset: HostArray | null,
  dtype: number,
  scales: ArrayLike<number>,
  N: number,
  groups: number,
  encoding: GroupEncoding,
): ArrayLike<number> {
  const [, values, valueDtype, , , bits, shared] = encoding
  const zeros = untileZeroPoints(offset, dtype, N, groups, encoding)
  if (zeros) return Float32Array.from(zeros, (zero, i) => scales[i] * zero)
  const shifts = offset as HostArray
  if (bits === 0) return untileFloats(shifts, dtype, N, groups)
  return decodeGroups(shifts, dtype, bits, 0, values, valueDtype, shared, N, groups)
}

/** The zero points [N, groups]; null where offsets are shifts. */
export function untileZeroPoints(
  offset: HostArray | null,
  dtype: number,
  N: number,
  groups: number,
  [, , , , , bits, , zeroPoint]: GroupEncoding,
): Uint8Array | null {
  const zeros = new Uint8Array(N * groups).fill(zeroPoint)
  if (!offset) return zeros
  if (bits > 0 || dtypeOfCode(dtype) !== 'uint8') return null
  tileUnpack(offset as Uint8Array, zeros, 8, N, groups)
  return zeros
}

function decodeGroups(
  tiles: HostArray,
  dtype: number,
  bits: number,
  zero: number,
  values: HostArray | null,
  valueDtype: number,
  shared: number,
  N: number,
  groups: number,
): Float32Array {
  const bytes = new Uint8Array(N * groups)
  tileUnpack(bytesOf(tiles), bytes, bits, N, groups)
  const name = dtypeOfCode(dtype)
  const codes =
    name === 'uint8' ? bytes : name === 'int8' ? new Int8Array(bytes.buffer) : toNumbers(name, bytes)
  const [rows, cols] = shared <= 0 ? [16, 1] : [N, groups / shared]
  const factors = values && untileFloats(values, valueDtype, rows, cols)
  return Float32Array.from(codes, (code, i) => {
    const [n, g] = [Math.floor(i / groups), i % groups]
    if (!factors) return code - zero
    if (shared < 0) return (code - zero) / factors[n % 16]
    return (code - zero) * (shared === 0 ? factors[n % 16] : factors[n * cols + Math.floor(g / shared)])
  })
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
  tileUnpack(bytesOf(tiles), bytesOf(values), 8 * dtypes[name].bytes, rows, cols)
  return toNumbers(name, values)
}

function bytesOf(array: HostArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}
