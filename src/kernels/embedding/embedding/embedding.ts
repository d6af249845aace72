import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'

/**
 * y[i,:] = table[ids[i],:], decoded to float32.
 * @param table [vocabulary, cols] any float dtype
 * @param ids [count] int32, each below vocabulary (the caller checks)
 * @param y [count, cols] float32
 */
export function embedding(
  table: HostArray,
  tableDtype: number,
  ids: Int32Array,
  y: Float32Array,
  count: number,
  cols: number,
): void {
  const dtype = dtypeOfCode(tableDtype)
  for (let i = 0; i < count; i++) {
    const row = toNumbers(dtype, table.subarray(ids[i] * cols, (ids[i] + 1) * cols))
    for (let c = 0; c < cols; c++) y[i * cols + c] = row[c]
  }
}
