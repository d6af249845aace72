import type { HostArray } from '../../../core/dtype.ts'
import {
  type GroupEncoding,
  untileScales,
  untileShifts,
  untileZeroPoints,
} from '../../matmul/qmatmul/groupValues.ts'
import { untileCodes } from '../../matmul/qmatmul/qmatmul.ts'

/**
 * y[i,k] = W[ids[i],k] = scale[n,g] · q[n,k] − shift[n,g], or scale[n,g] · (q[n,k] − zeroPoint[n,g]), n =
 * ids[i], g = ⌊k / groupSize⌋; each operation rounded to float32.
 * @param w [rows, K] codes, tiles of the type's bits (see tilePack)
 * @param scale [rows, ⌈K / groupSize⌉] float32, float16 or bfloat16, tiles of as many bits
 * @param offset as qmatmul's; absent for signed types
 * @param ids [count] int32, each below `rows`; the caller checks them
 * @param y [count, K] float32
 * @param encoding as qmatmul's
 */
export function qembedding(
  w: Uint8Array,
  qtype: number,
  scale: HostArray,
  offset: HostArray | null,
  scaleDtype: number,
  offsetDtype: number,
  ids: Int32Array,
  y: Float32Array,
  count: number,
  rows: number,
  K: number,
  groupSize: number,
  ...encoding: GroupEncoding
): void {
  const groups = Math.ceil(K / groupSize)
  const codes = untileCodes(w, qtype, rows, K)
  const scales = untileScales(scale, scaleDtype, rows, groups, encoding)
  const shifts = untileShifts(offset, offsetDtype, scales, rows, groups, encoding)
  const zeros = untileZeroPoints(offset, offsetDtype, rows, groups, encoding)
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < K; k++) {
      const g = ids[i] * groups + Math.floor(k / groupSize)
      const code = codes[ids[i] * K + k]
      y[i * K + k] = zeros ? scales[g] * (code - zeros[g]) : Math.fround(scales[g] * code) - shifts[g]
    }
  }
}
