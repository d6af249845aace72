import { aBoolean, wholeNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { op } from '../op.ts'
import type { Gradient } from '../tape.ts'
import { checkDType, checkShape, checkTensor, Tensor } from '../tensor.ts'
import { neg } from './elementwise.ts'
import { type Position, placed } from './position.ts'

/** Which values of a head are turned, and in which pairs. */
export interface RopeOptions {
  /** Pairs (2i, 2i + 1), as in GPT-J; default (i, i + rotaryDim/2), as in Hugging Face's Llama. */
  interleaved?: boolean
  /** Only the first values of a head are turned, an even number of them; default all. */
  rotaryDim?: number
}

const optionKinds: OptionKinds<RopeOptions> = { interleaved: aBoolean, rotaryDim: wholeNumber(2) }

/**
 * Rotary position embedding: pairs of values of each head turn by the angle of their position.
 * Source: Su et al., "RoFormer", 2021, equation 34.
 * @param x [B, T, H, D] float32
 * @param cos,sin [positions, rotaryDim/2] float32; token t uses row `position + t`
 * of them; one that has none is not turned
 */
export function rope(
  x: Tensor,
  cos: Tensor,
  sin: Tensor,
  position: Position,
  options: RopeOptions = {},
): Tensor {
  checkOptions('rope', options, optionKinds)
  return turned(x, cos, sin, position, options)
}

const turned = op(
  'rope(x, cos, sin, position, options)',
  (x: Tensor, cos: Tensor, sin: Tensor, position: Position, options: RopeOptions): Tensor => {
    checkDType('rope', 'x', x, 'float32')
    const [B, T, H, D] = x.shape
    const rotaryDim = Math.min(options.rotaryDim ?? D, D)
    checkTensor('rope', 'cos', cos)
    checkShape('rope', 'cos', cos, [cos.size(0), rotaryDim / 2])
    checkShape('rope', 'sin', sin, cos.shape)
    const places = placed('rope', position, [B, T], cos.size(0))
    const y = Tensor.empty(x.device, x.shape)
    const sizes = { batch: B, tokens: T, heads: H, headSize: D, rotaryDim, rows: cos.size(0) }
    const interleaved = options.interleaved ? 1 : 0
    x.device.call('rope', { x, cos, sin, y, ...sizes, ...places, interleaved })
    return y
  },
  // Turned back by the same angles.
  ({ dy }, _x, cos, sin, position, options): Gradient[] => [rope(dy, cos, neg(sin), position, options)],
)
