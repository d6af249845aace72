import { op } from '../tensor/op.ts'
import { embedding } from '../tensor/ops/embedding.ts'
import { scope } from '../tensor/scope.ts'
import { checkDType, Tensor } from '../tensor/tensor.ts'
import { matrixShape } from './parts.ts'
import { permuteColumns } from './permuteColumns.ts'
import { chooseLookup, weightArguments } from './product.ts'
import type { QTensor } from './qtensor.ts'

/**
 * y[i] = table[ids[i]], of a float or a quantized table.
 * @param table [V, C]
 * @param ids [...] int32, each in 0..V−1 (checked where they are made)
 * @returns [..., C] float32
 */
export const lookup = op('lookup(table, ids)', (table: Tensor | QTensor, ids: Tensor): Tensor => {
  if (table instanceof Tensor) return embedding(table, ids)
  checkDType('qembedding', 'ids', ids, 'int32')
  if (chooseLookup(table.facts).kernel !== 'qembedding')
    return scope(() => embedding(table.dequantize(), ids))
  const [rows, K] = matrixShape(table.shape)
  return scope(() => {
    const y = Tensor.empty(ids.device, [...ids.shape, K])
    if (ids.numel === 0) return y
    ids.device.call('qembedding', { ...weightArguments(table), ids, y, count: ids.numel, rows, K })
    return table.order ? permuteColumns(y, table.order, 'back') : y
  })
})
