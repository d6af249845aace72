import { dtypes } from '../core/dtype.ts'
import { type Op, op } from '../tensor/op.ts'
import { Tensor } from '../tensor/tensor.ts'

/**
 * The columns of x [..., K] in another order: y[..., j] = x[..., order[j]], or, with `back`, the inverse
 * y[..., order[j]] = x[..., j].
 * @param order [K] int32, a permutation of 0 … K − 1
 */
export const permuteColumns: Op<[x: Tensor, order: Tensor, direction?: 'there' | 'back'], Tensor> = op(
  'permuteColumns(x, order, direction)',
  (x: Tensor, order: Tensor, direction: 'there' | 'back' = 'there'): Tensor => {
    const cols = x.size(-1)
    const y = Tensor.empty(x.device, x.shape, x.dtype)
    const rows = x.numel / cols
    const { bytes } = dtypes[x.dtype]
    if (rows > 0)
      x.device.call('permuteColumns', { x, order, y, bytes, rows, cols, back: direction === 'back' ? 1 : 0 })
    return y
  },
  ({ dy }, _x, order, direction) => [permuteColumns(dy, order, direction === 'back' ? 'there' : 'back')],
)
