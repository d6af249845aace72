import { embedding } from '../tensor/ops/embedding.ts'
import { scope } from '../tensor/scope.ts'
import { checkDType, Tensor } from '../tensor/tensor.ts'
import { matrixShape, type QTensor, weightArguments } from './qtensor.ts'

/**
 * y[i] = table[ids[i]], of a float or a quantized table.
 * @param table [V, C]
 * @param ids [...] int32, each in 0..V−1 (checked where they are made)
 * @returns [..., C] float32
 */
export function lookup(table: Tensor | QTensor, ids: Tensor): Tensor {
  if (table instanceof Tensor) return embedding(table, ids)
  checkDType('qembedding', 'ids', ids, 'int32')
  const [rows, cols] = matrixShape(table.shape)
  // The kernel takes groups of 32 columns or more.
  if (table.groupSize === 1 && cols > 1) return scope(() => embedding(table.dequantize(), ids))
  const y = Tensor.empty(ids.device, [...ids.shape, cols])
  if (ids.numel === 0) return y
  ids.device.call('qembedding', { ...weightArguments(table), ids, y, count: ids.numel, rows, K: cols })
  return y
}
