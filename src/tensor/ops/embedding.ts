import { dtypes } from '../../core/dtype.ts'
import { record } from '../tape.ts'
import { checkDType, Tensor } from '../tensor.ts'

/**
 * y[i] = table[ids[i]].
 * @param table [V, C] float32, float16 or bfloat16
 * @param ids [...] int32, each in 0..V−1 (checked where they are made: the device does not)
 * @returns [..., C] float32
 */
export function embedding(table: Tensor, ids: Tensor): Tensor {
  checkDType('embedding', 'table', table, 'float32', 'float16', 'bfloat16')
  checkDType('embedding', 'ids', ids, 'int32')
  const cols = table.size(-1)
  const y = Tensor.empty(table.device, [...ids.shape, cols])
  if (ids.numel > 0)
    table.device.call('embedding', {
      table,
      tableDtype: dtypes[table.dtype].code,
      ids,
      y,
      count: ids.numel,
      cols,
    })
  return record(y, [table], (dy) => {
    const dtable = Tensor.empty(table.device, table.shape)
    if (table.numel > 0)
      table.device.call('embeddingGrad', {
        ids,
        dy,
        dtable,
        count: ids.numel,
        vocabulary: table.shape[0],
        cols,
      })
    return [dtable]
  })
}
