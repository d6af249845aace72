import { tileUnpack } from '../../layout/tileUnpack/tileUnpack.ts'
import { untileFloats } from '../qmatmul/groupValues.ts'

/**
 * y[m,n] += scale[n] · Σ x[m,k] · q[n,k] over the columns k of outliers: what LLM.int8 multiplies in floats.
 * Source: Dettmers et al., "LLM.int8()", 2022.
 * @param x [M, K] float32
 * @param outliers [K] 1 for columns of outliers, else 0
 * @param w [N, K] int8 codes, tiles of 8 bits (see tilePack)
 * @param scale [N] float32, tiles of 32 bits
 * @param y [M, N] float32
 */
export function addOutliers(
  x: Float32Array,
  outliers: Uint8Array,
  w: Uint8Array,
  scale: Float32Array,
  y: Float32Array,
  M: number,
  N: number,
  K: number,
): void {
  const codes = new Int8Array(N * K)
  tileUnpack(w, new Uint8Array(codes.buffer), 8, N, K)
  const scales = untileFloats(scale, 0, N, 1)
  for (let m = 0; m < M; m++)
    for (let n = 0; n < N; n++) {
      let sum = 0
      for (let k = 0; k < K; k++) if (outliers[k]) sum += x[m * K + k] * codes[n * K + k]
      y[m * N + n] += scales[n] * sum
    }
}
