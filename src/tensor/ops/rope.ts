import type { Scalar } from '../../devices/commandList.ts'
import { op } from '../op.ts'
import type { Gradient } from '../tape.ts'
import { checkDType, checkShape, checkTensor, Tensor } from '../tensor.ts'
import { checkPositions } from './attention.ts'
import { neg } from './elementwise.ts'

/**
 * Rotary position embedding: pairs (i, i + D/2) of each head turn by the angle of their position.
 * Source: Su et al., "RoFormer", 2021, equation 34, in the half-split pairing of Hugging Face's Llama.
 * @param x [B, T, H, D] float32
 * @param cos,sin [positions, D/2] float32; token t uses row `position + t`
 */
export const rope = op(
  'rope(x, cos, sin, position)',
  (x: Tensor, cos: Tensor, sin: Tensor, position: number | Scalar): Tensor => {
    checkDType('rope', 'x', x, 'float32')
    const [B, T, H, D] = x.shape
    checkTensor('rope', 'cos', cos)
    checkShape('rope', 'cos', cos, [cos.size(0), D / 2])
    checkShape('rope', 'sin', sin, cos.shape)
    checkPositions('rope', position, T, cos.size(0))
    const y = Tensor.empty(x.device, x.shape)
    x.device.call('rope', { x, cos, sin, y, batch: B, tokens: T, heads: H, headSize: D, position })
    return y
  },
  // Turned back by the same angles.
  ({ dy }, _x, cos, sin, position): Gradient[] => [rope(dy, cos, neg(sin), position)],
)
