import { dtypes } from '../../core/dtype.ts'
import { ShapeError } from '../../core/errors.ts'
import { aNumber, orNull, wholeNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../../core/options.ts'
import { qint8 } from '../../core/qtype.ts'
import { showShape } from '../../core/shape.ts'
import { op } from '../op.ts'
import type { Gradient } from '../tape.ts'
import { aTensor, checkDType, checkShape, Tensor } from '../tensor.ts'
import { mul } from './elementwise.ts'
import { sum } from './reduce.ts'

/** What codes x is rounded to, and what of the gradients is passed on. */
export interface FakeQuantizeOptions {
  qmin: number
  qmax: number
  /** As scale, int32; default 0. */
  zeroPoint?: Tensor | null
  /** The gradient of the scale is multiplied by it; default 1, LSQ takes 1 / √(values · qmax). */
  gradFactor?: number
}

const optionKinds: OptionKinds<FakeQuantizeOptions> = {
  qmin: required(wholeNumber(-(2 ** 31), 2 ** 31 - 1)),
  qmax: required(wholeNumber(-(2 ** 31), 2 ** 31 - 1)),
  zeroPoint: orNull(aTensor),
  gradFactor: aNumber,
}

/**
 * y = scale · (clamp(rne(x / scale) + zeroPoint, qmin, qmax) − zeroPoint), for training with what
 * quantization will leave of x. Gradients pass straight through the rounding where the code lies in the
 * range, and not at all beyond; that of the scale is LSQ's.
 * Source: Esser et al., "Learned Step Size Quantization", 2020, equation 3.
 * @param x [N, ...] float32
 * @param scale [] for all values or [N] for rows, float32
 * @throws ShapeError if the scale has another shape, or the range is none
 */
export const fakeQuantize = op(
  'fakeQuantize(x, scale, options)',
  (x: Tensor, scale: Tensor, options: FakeQuantizeOptions): Tensor => {
    checkOptions('fakeQuantize', options, optionKinds)
    const { qmin, qmax, zeroPoint = null } = options
    checkArguments(x, scale, options)
    const y = Tensor.empty(x.device, x.shape)
    if (x.numel > 0)
      x.device.call('fakeQuantize', {
        ...{ x, dtype: dtypes.float32.code, scale, zeroPoint, y },
        ...{ ...asRows(x, scale), qtype: qint8.code, qmin, qmax },
      })
    return y
  },
  ({ dy, needs }, x, scale, options) => fakeQuantizeGradients(dy, x, scale, options, needs(scale)),
)

/**
 * The gradients of x and, if asked for, scale from that of `fakeQuantize`, or of whatever else rounds x so.
 */
export function fakeQuantizeGradients(
  dy: Tensor,
  x: Tensor,
  scale: Tensor,
  { qmin, qmax, zeroPoint = null, gradFactor = 1 }: FakeQuantizeOptions,
  scaleAsked: boolean,
): [dx: Gradient, dscale: Gradient] {
  const sizes = asRows(x, scale)
  const dx = Tensor.empty(x.device, x.shape)
  const dscale = Tensor.empty(x.device, [sizes.rows])
  if (x.numel > 0)
    x.device.call('fakeQuantizeGrad', { x, scale, zeroPoint, dy, dx, dscale, ...sizes, qmin, qmax })
  if (!scaleAsked) return [dx, null]
  const whole = sizes.scaleStride === 0 ? sum(dscale) : dscale
  return [dx, gradFactor === 1 ? whole : mul(whole, gradFactor)]
}

/**
 * Rows that have a scale of their own; those of the last dimension where one scale serves all, so that
 * threads can share them.
 */
function asRows(x: Tensor, scale: Tensor): { rows: number; cols: number; scaleStride: number } {
  const perRow = scale.shape.length > 0
  const cols = perRow ? x.numel / x.shape[0] : (x.size(-1) ?? 1)
  return { rows: x.numel / cols, cols, scaleStride: perRow ? 1 : 0 }
}

function checkArguments(x: Tensor, scale: Tensor, { qmin, qmax, zeroPoint }: FakeQuantizeOptions): void {
  checkDType('fakeQuantize', 'x', x, 'float32')
  checkDType('fakeQuantize', 'scale', scale, 'float32')
  if (
    scale.shape.length > 0 &&
    (x.shape.length === 0 || scale.shape.length > 1 || scale.shape[0] !== x.shape[0])
  )
    throw new ShapeError(
      `fakeQuantize: scale must be [] or [rows of x]; received ${showShape(scale.shape)} for x ${showShape(x.shape)}`,
    )
  if (zeroPoint) {
    checkDType('fakeQuantize', 'zeroPoint', zeroPoint, 'int32')
    checkShape('fakeQuantize', 'zeroPoint', zeroPoint, scale.shape)
  }
  if (qmin >= qmax)
    throw new ShapeError(`fakeQuantize: qmin must lie below qmax; received ${qmin} and ${qmax}`)
}
