import { ShapeError } from '../../core/errors.ts'
import { check, listOf, oneOf, wholeNumber } from '../../core/kinds.ts'
import { numel, showShape } from '../../core/shape.ts'
import { padModes } from '../../kernels/layout/pad2d/pad2d.ts'
import { op } from '../op.ts'
import { checkDType, Tensor } from '../tensor.ts'

/**
 * What lies outside: zeros, the image mirrored at its border pixels, its border pixels, or the image again.
 */
export type PadMode = keyof typeof padModes

/**
 * How many values the last dimensions get before and behind, the last one first, as PyTorch's `pad` takes
 * them.
 */
export type Padding =
  | readonly [left: number, right: number]
  | readonly [left: number, right: number, top: number, bottom: number]

export const aPadMode = oneOf(...Object.keys(padModes))
const borders = listOf('whole numbers, [left, right] or [left, right, top, bottom]', wholeNumber(-Infinity))

/**
 * x with a border around its last two dimensions (or its last one); with zeros a negative border cuts off.
 * @param x [..., height, width] float32
 * @returns [..., top + height + bottom, left + width + right] float32
 * @throws ShapeError if x has no such dimension, or a border does not fit: reflect needs one below the size,
 * circular one up to it.
 */
export const pad = op(
  'pad(x, padding, mode)',
  (x: Tensor, padding: Padding, mode: PadMode = 'zeros'): Tensor => {
    checkDType('pad', 'x', x, 'float32')
    check('pad', 'padding', padding, borders)
    check('pad', 'mode', mode, aPadMode)
    const [left, right, top = 0, bottom = 0] = padding
    if (x.shape.length === 0 || (x.shape.length === 1 && (top !== 0 || bottom !== 0))) {
      throw new ShapeError(
        `pad: x must have the dimensions that get a border [${padding}]; received ${showShape(x.shape)}`,
      )
    }
    const sizes = sizesOf(x, padding)
    const { height, width, outHeight, outWidth } = sizes
    checkBorder(mode, x, height, top, bottom)
    checkBorder(mode, x, width, left, right)
    const shape = x.shape.length > 1 ? [...x.shape.slice(0, -2), outHeight, outWidth] : [outWidth]
    const y = Tensor.empty(x.device, shape)
    if (y.numel > 0) x.device.call('pad2d', { mode: padModes[mode], x, y, ...sizes })
    return y
  },
  ({ dy }, x, padding, mode = 'zeros') => {
    const dx = Tensor.empty(x.device, x.shape)
    const sizes = sizesOf(x, padding)
    if (dy.numel > 0) x.device.call('pad2dGradient', { mode: padModes[mode], dy, dx, ...sizes })
    return [dx]
  },
)

/** x as planes, what they become, and where their first value goes. */
function sizesOf(x: Tensor, [left, right, top = 0, bottom = 0]: Padding) {
  const [height, width] = [x.shape.length > 1 ? x.size(-2) : 1, x.size(-1)]
  const [outHeight, outWidth] = [height + top + bottom, width + left + right]
  return { planes: numel(x.shape.slice(0, -2)), height, width, outHeight, outWidth, top, left }
}

function checkBorder(mode: PadMode, x: Tensor, size: number, before: number, behind: number): void {
  const [least, most] =
    mode === 'zeros'
      ? [-size, Infinity]
      : [0, { reflect: size - 1, replicate: Infinity, circular: size }[mode]]
  if (
    [before, behind].some((border) => !(Number.isInteger(border) && border >= least && border <= most)) ||
    size + before + behind < 1
  ) {
    throw new ShapeError(
      `pad: a border of ${mode} must lie in ${least}..${most} and leave something; received ${before} and ${behind} for ${showShape(x.shape)}`,
    )
  }
}
