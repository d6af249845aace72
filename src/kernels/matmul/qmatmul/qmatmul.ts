import type { HostArray } from '../../../core/dtype.ts'
import { dtypes } from '../../../core/dtype.ts'
import { decodeFloat, dtypeOfCode, toNumbers } from '../../../core/halves.ts'
import { qtypesByCode } from '../../../core/qtype.ts'
import { tileUnpack } from '../../layout/tileUnpack/tileUnpack.ts'

/**
 * y[m,n] = Σₖ x[m,k] · W[n,k] + bias[n], with W[n,k] = scale[n,g] · q[n,k] − shift[n,g] and g = ⌊k / groupSize⌋.
 *
 * Affine types (qint2, qint4, qint5) have unsigned codes and a shift; qint8 has signed codes and float8 its own, both without shift.
 * @param x [M, K] float32
 * @param w [N, K] codes, tiles of the type's bits (see tilePack)
 * @param scale [N, groups] float32 or float16, tiles of as many bits; groups = ⌈K / groupSize⌉
 * @param shift [N, groups] as the scale; absent for symmetric types
 * @param bias [N] float32, may be absent
 * @param y [M, N] float32
 * @param groupSize columns that share a scale: K, or a multiple of 32
 */
export function qmatmul(
  x: Float32Array,
  w: Uint8Array,
  qtype: number,
  scale: HostArray,
  shift: HostArray | null,
  scaleDtype: number,
  bias: Float32Array | null,
  y: Float32Array,
  M: number,
  N: number,
  K: number,
  groupSize: number,
): void {
  const weights = dequantizeTiles(w, qtype, scale, shift, scaleDtype, N, K, groupSize)
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = bias ? bias[n] : 0
      for (let k = 0; k < K; k++) sum += x[m * K + k] * weights[n * K + k]
      y[m * N + n] = sum
    }
  }
}

/** W[n,k] = scale[n,g] · q[n,k] − shift[n,g], [N, K] float64, of tile-packed codes, scales and shifts. */
export function dequantizeTiles(
  w: Uint8Array,
  qtype: number,
  scale: HostArray,
  shift: HostArray | null,
  scaleDtype: number,
  N: number,
  K: number,
  groupSize: number,
): Float64Array {
  const groups = Math.ceil(K / groupSize)
  const scales = untileFloats(scale, scaleDtype, N, groups)
  const shifts = shift && untileFloats(shift, scaleDtype, N, groups)
  return untileCodes(w, qtype, N, K).map((q, i) => {
    const g = Math.floor(i / K) * groups + Math.floor((i % K) / groupSize)
    return scales[g] * q - (shifts ? shifts[g] : 0)
  })
}

/** The values that tile-packed codes stand for, [N, K] float64. */
export function untileCodes(w: Uint8Array, qtype: number, N: number, K: number): Float64Array {
  const { bits, dtype } = qtypesByCode[qtype]
  const codes = new Uint8Array(N * K)
  tileUnpack(w, codes, bits, N, K)
  return Float64Array.from(codes, (code) => (dtype === 'uint8' ? code : dtype === 'int8' ? (code << 24) >> 24 : decodeFloat(dtype, code)))
}

/** Tile-packed float32 or float16 as numbers, [rows, cols]. */
export function untileFloats(tiles: HostArray, dtype: number, rows: number, cols: number): Float32Array | Float64Array {
  const name = dtypeOfCode(dtype)
  const values = new dtypes[name].array(rows * cols)
  const bytesOf = (array: HostArray) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
  tileUnpack(bytesOf(tiles), bytesOf(values), 8 * dtypes[name].bytes, rows, cols)
  return toNumbers(name, values)
}
