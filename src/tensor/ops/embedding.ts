import { dtypes } from '../../core/dtype.ts'
import { op } from '../op.ts'
import { checkDType, Tensor } from '../tensor.ts'

/**
 * y[i] = table[ids[i]].
 * @param table [V, C] float32, float16 or bfloat16
 * @param ids [...] int32, each in 0..V−1 (checked where they are made: the device does not)
 * @returns [..., C] float32
 */
export const embedding = op(
  'embedding(table, ids)',
  (table: Tensor, ids: Tensor): Tensor => {
    checkDType('embedding', 'table', table, 'float32', 'float16', 'bfloat16')
    checkDType('embedding', 'ids', ids, 'int32')
    const cols = table.size(-1)
    const y = Tensor.empty(table.device, [...ids.shape, cols])
    const tableDtype = dtypes[table.dtype].code
    if (ids.numel > 0) table.device.call('embedding', { table, tableDtype, ids, y, count: ids.numel, cols })
    return y
  },
  ({ dy }, table, ids) => {
    const dtable = Tensor.empty(table.device, table.shape)
    const [vocabulary, cols] = table.shape
    if (table.numel > 0)
      table.device.call('embeddingGrad', { ids, dy, dtable, count: ids.numel, vocabulary, cols })
    return [dtable]
  },
)
