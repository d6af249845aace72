import { decodeFloat } from '../../core/halves.ts'
import { qtypes } from '../../core/qtype.ts'
import { tileUnpack } from '../tileUnpack/tileUnpack.ts'

/**
 * y[m,n] = Σₖ x[m,k] · W[n,k] + bias[n], with W[n,k] = scale[n,g] · q[n,k] − shift[n,g] and g = ⌊k / groupSize⌋.
 *
 * Affine types (qint2, qint4) have unsigned codes and a shift; qint8 has signed codes and float8 its own, both without shift.
 * @param x [M, K] float32
 * @param w [N, K] codes, tiles of the type's bits (see tilePack)
 * @param scale [N, groups] float32, tiles of 32 bits; groups = ⌈K / groupSize⌉
 * @param shift [N, groups] float32, tiles of 32 bits; absent for symmetric types
 * @param bias [N] float32, may be absent
 * @param y [M, N] float32
 * @param groupSize columns that share a scale: K, or a multiple of 32
 */
export function qmatmul(
  x: Float32Array,
  w: Uint8Array,
  qtype: number,
  scale: Float32Array,
  shift: Float32Array | null,
  bias: Float32Array | null,
  y: Float32Array,
  M: number,
  N: number,
  K: number,
  groupSize: number,
): void {
  const weights = dequantizeTiles(w, qtype, scale, shift, N, K, groupSize)
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
  scale: Float32Array,
  shift: Float32Array | null,
  N: number,
  K: number,
  groupSize: number,
): Float64Array {
  const { bits, dtype } = qtypes[qtype]
  const groups = Math.ceil(K / groupSize)
  const codes = new Uint8Array(N * K)
  tileUnpack(w, codes, bits, N, K)
  const scales = untiled(scale, N, groups)
  const shifts = shift ? untiled(shift, N, groups) : null
  const weights = new Float64Array(N * K)
  for (let n = 0; n < N; n++) {
    for (let k = 0; k < K; k++) {
      const code = codes[n * K + k]
      const q = dtype === 'uint8' ? code : dtype === 'int8' ? (code << 24) >> 24 : decodeFloat(dtype, code)
      const g = n * groups + Math.floor(k / groupSize)
      weights[n * K + k] = scales[g] * q - (shifts ? shifts[g] : 0)
    }
  }
  return weights
}

function untiled(tiles: Float32Array, rows: number, cols: number): Float32Array {
  const values = new Float32Array(rows * cols)
  tileUnpack(new Uint8Array(tiles.buffer, tiles.byteOffset, tiles.byteLength), new Uint8Array(values.buffer), 32, rows, cols)
  return values
}
