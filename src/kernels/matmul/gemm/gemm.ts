import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'

/**
 * y[i] = op(a[i mod aBatch]) · op(b[i mod bBatch]) + bias for i < batch: y[m,n] = Σₖ a[m,k] · b[k,n] +
 * bias[n].
 * @param a [aBatch, M, K] float32; aTransposed (1 or 0): [aBatch, K, M]
 * @param b [bBatch, K, N] float32, float16 or bfloat16; bTransposed: [bBatch, N, K], one row an output, as
 * PyTorch's Linear holds weights
 * @param bias [N] float32, may be absent
 * @param y [batch, M, N] float32
 * @param span [2] int32, may be absent: of one product with a as it stands, the first row of a and y, and the one
 * behind the last, known when the kernel runs; the others are neither read nor written
 */
export function gemm(
  a: Float32Array,
  b: HostArray,
  bDtype: number,
  bias: Float32Array | null,
  y: Float32Array,
  batch: number,
  aBatch: number,
  bBatch: number,
  M: number,
  N: number,
  K: number,
  aTransposed: number,
  bTransposed: number,
  span: Int32Array | null = null,
): void {
  const numbers = toNumbers(dtypeOfCode(bDtype), b)
  const [aRow, aCol] = aTransposed ? [1, M] : [K, 1]
  const [bRow, bCol] = bTransposed ? [1, K] : [N, 1]
  for (let i = 0; i < batch; i++) {
    const aFirst = (i % aBatch) * M * K
    const bFirst = (i % bBatch) * K * N
    for (let m = span?.[0] ?? 0; m < (span?.[1] ?? M); m++) {
      for (let n = 0; n < N; n++) {
        let sum = bias ? bias[n] : 0
        for (let k = 0; k < K; k++)
          sum += a[aFirst + m * aRow + k * aCol] * numbers[bFirst + k * bRow + n * bCol]
        y[(i * M + m) * N + n] = sum
      }
    }
  }
}
