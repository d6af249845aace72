import { numel } from '../../core/shape.ts'
import { op } from '../op.ts'
import { checkDType, Tensor } from '../tensor.ts'
import { axisOf } from './strided.ts'

/**
 * y[c] = Σ x[…, c, …] over every dimension but `axis`, without a tape: what the gradient of a bias is. x
 * float32.
 */
export const columnSum = op('columnSum(x, axis)', (x: Tensor, axis: number): Tensor => {
  checkDType('columnSum', 'x', x, 'float32')
  const at = axisOf('columnSum', x, axis)
  const y = Tensor.empty(x.device, [x.shape[at]])
  const [rows, inner] = [numel(x.shape.slice(0, at)), numel(x.shape.slice(at + 1))]
  if (y.numel > 0) x.device.call('columnSum', { x, y, rows, cols: y.numel, inner })
  return y
})
