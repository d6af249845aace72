import type { HostArray } from '../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../core/halves.ts'

/**
 * y[m,n] = Σₖ x[m,k] · w[n,k] + bias[n].
 * @param x [M, K] float32
 * @param w [N, K] float32, float16 or bfloat16: one row an output, as PyTorch's Linear holds them
 * @param bias [N] float32, may be absent
 * @param y [M, N] float32
 */
export function matmul(
  x: Float32Array,
  w: HostArray,
  wDtype: number,
  bias: Float32Array | null,
  y: Float32Array,
  M: number,
  N: number,
  K: number,
): void {
  const weights = toNumbers(dtypeOfCode(wDtype), w)
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = bias ? bias[n] : 0
      for (let k = 0; k < K; k++) sum += x[m * K + k] * weights[n * K + k]
      y[m * N + n] = sum
    }
  }
}
