import type { HostArray } from '../../../core/dtype.ts'
import { rowStride } from '../../quantize/quantizeRows/quantizeRows.ts'
import { type GroupEncoding, untileScales, untileShifts } from '../qmatmul/groupValues.ts'
import { untileCodes } from '../qmatmul/qmatmul.ts'

/**
 * y[m,n] = bias[n] + Σ_g xScale[m,g] · (scale[n,G] · Σₖ q[n,k] · x[m,k] − shift[n,G] · xSum[m,g]), k in group
 * g of x, G its group of w.
 *
 * The matrix product of qmatmul for rows that quantizeRows made bytes: the inner sums are integers and exact,
 * what is around them float32. For every type with integer codes.
 * @param x [M, K] int8 (for qint8 of w −128 included, else from −127), rows rowStride(K) apart with zeros
 * behind them, as quantizeRows leaves them
 * @param xScale [M, ⌈K / xGroupSize⌉] float32
 * @param xSum [M, ⌈K / xGroupSize⌉] float32, Σₖ x[m,k] of each group
 * @param xGroupSize K, at most 65536, or 16, or a multiple of 32 up to 768, such that no group of x lies in
 * two of w
 * @param w [N, K] codes, tiles of the type's bits (see tilePack)
 * @param scale [N, ⌈K / groupSize⌉] float32, float16 or bfloat16, tiles of as many bits
 * @param offset as qmatmul's; absent for qint8
 * @param bias [N] float32, may be absent
 * @param y [M, N] float32
 * @param groupSize columns of w that share a scale: K, or a multiple of 16
 * @param span as qmatmul's
 * @param encoding as qmatmul's
 */
export function qmatmulInt8(
  x: Uint8Array,
  xScale: Float32Array,
  xSum: Float32Array,
  xGroupSize: number,
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
  span: Int32Array | null,
  ...encoding: GroupEncoding
): void {
  const codes = untileCodes(w, qtype, N, K)
  const groups = Math.ceil(K / groupSize)
  const scales = untileScales(scale, scaleDtype, N, groups, encoding)
  const shifts = untileShifts(offset, offsetDtype, scales, N, groups, encoding)
  const xGroups = Math.ceil(K / xGroupSize)
  const values = new Int8Array(x.buffer, x.byteOffset, x.length)
  const stride = rowStride(K)
  for (let m = span?.[0] ?? 0; m < (span?.[1] ?? M); m++) {
    for (let n = 0; n < N; n++) {
      let sum = bias ? bias[n] : 0
      for (let g = 0; g < xGroups; g++) {
        const start = g * xGroupSize
        const end = Math.min(K, start + xGroupSize)
        let dot = 0
        for (let k = start; k < end; k++) dot += codes[n * K + k] * values[m * stride + k]
        const at = n * groups + Math.floor(start / groupSize)
        const shifted = shifts[at] * xSum[m * xGroups + g]
        sum += xScale[m * xGroups + g] * (scales[at] * dot - shifted)
      }
      y[m * N + n] = sum
    }
  }
}
