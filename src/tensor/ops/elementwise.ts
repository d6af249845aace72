import { type DType, dtypes } from '../../core/dtype.ts'
import { DTypeError, ShapeError } from '../../core/errors.ts'
import { check, type Kind, oneOf, show } from '../../core/kinds.ts'
import { sameShape } from '../../core/shape.ts'
import type { Scalar } from '../../devices/commandList.ts'
import { binaryOps } from '../../kernels/elementwise/binary/binary.ts'
import { unaryOps } from '../../kernels/elementwise/unary/unary.ts'
import { overridden } from '../override.ts'
import { scope } from '../scope.ts'
import { needsGrad, record } from '../tape.ts'
import { checkDType, checkShape, checkTensor, Tensor } from '../tensor.ts'
import { broadcastShape, expand, sumTo } from './broadcast.ts'

/** dx of a and b from dy, the gradients skipped that nobody asks for. */
type BinaryGradients = (
  dy: Tensor,
  a: Tensor,
  b: Tensor,
  y: Tensor,
  asked: { a: boolean; b: boolean },
) => [Tensor | null, Tensor | null]

const gradientsOf: Record<keyof typeof binaryOps, BinaryGradients> = {
  add: (dy) => [dy, dy],
  sub: (dy, _a, _b, _y, asked) => [dy, asked.b ? neg(dy) : null],
  mul: (dy, a, b, _y, asked) => [asked.a ? mul(dy, b) : null, asked.b ? mul(dy, a) : null],
  div: (dy, _a, b, y, asked) => {
    const da = div(dy, b)
    return [da, asked.b ? neg(mul(da, y)) : null]
  },
}

/**
 * y = a ∘ b, value by value; sizes of 1, and missing ones in front, are repeated.
 * @throws ShapeError if sizes differ otherwise
 */
function binary(op: keyof typeof binaryOps, a: Tensor, b: Tensor): Tensor {
  checkDType(op, 'a', a, 'float32')
  checkDType(op, 'b', b, 'float32')
  const cols = a.size(-1) ?? 1
  const same = sameShape(a.shape, b.shape)
  if (!same && !sameShape(b.shape, [cols])) {
    const shape = broadcastShape(op, a.shape, b.shape)
    return scope(() => binary(op, expand(a, shape), expand(b, shape)))
  }
  const y = Tensor.empty(a.device, a.shape)
  if (a.numel > 0)
    a.device.call('binary', {
      op: binaryOps[op],
      a,
      b,
      y,
      rows: a.numel / cols,
      cols,
      bRowStride: same ? cols : 0,
    })
  const asked = { a: needsGrad(a), b: needsGrad(b) }
  return record(y, [a, b], (dy) => {
    const [da, db] = gradientsOf[op](dy, a, b, y, asked)
    return [da, asked.b && db ? sumTo(db, b.shape) : null]
  })
}

/** A tensor, or a number in the place of one that holds it everywhere. */
export type Operand = Tensor | number

/** @throws DTypeError unless one of the operands is a tensor, and the other one, too, or a number */
function checkOperands(op: string, a: Operand, b: Operand): void {
  const kinds = [a, b].map((operand) => (operand instanceof Tensor ? 'tensor' : typeof operand))
  if (kinds.includes('tensor') && kinds.every((kind) => kind === 'tensor' || kind === 'number')) return
  throw new DTypeError(
    `${op}: a and b must be tensors, or one of them a number; received ${kinds.join(' and ')}`,
  )
}

/**
 * y = a + b, float32. Shapes as in every operation on two operands: equal, or such that sizes of 1 and
 * missing ones in front can be repeated; either operand may be a number.
 */
export function add(a: Operand, b: Operand): Tensor {
  checkOperands('add', a, b)
  return typeof a === 'number'
    ? affine(b as Tensor, 1, a)
    : typeof b === 'number'
      ? affine(a, 1, b)
      : binary('add', a, b)
}

/** y = a − b; either may be a number. */
export function sub(a: Operand, b: Operand): Tensor {
  checkOperands('sub', a, b)
  return typeof a === 'number'
    ? affine(b as Tensor, -1, a)
    : typeof b === 'number'
      ? affine(a, 1, -b)
      : binary('sub', a, b)
}

/** y = a · b; either may be a number. */
export function mul(a: Operand, b: Operand): Tensor {
  checkOperands('mul', a, b)
  // Adding −0 changes nothing, not even the sign of a zero.
  return typeof a === 'number'
    ? affine(b as Tensor, a, -0)
    : typeof b === 'number'
      ? affine(a, b, -0)
      : binary('mul', a, b)
}

/** y = a / b; either may be a number. */
export function div(a: Operand, b: Operand): Tensor {
  checkOperands('div', a, b)
  if (a instanceof Tensor && b instanceof Tensor) return binary('div', a, b)
  return overridden('div', a, b) ?? scope(() => binary('div', asRow(a, b), asRow(b, a)))
}

/** A number as a row as long as those of the other operand. */
function asRow(a: Operand, other: Operand): Tensor {
  if (a instanceof Tensor) return a
  const { device, shape } = other as Tensor
  return Tensor.full(device, shape.slice(-1), a)
}

/** y = x · scale + offset for two numbers, product and sum each rounded. */
export function affine(x: Tensor, scale: number, offset: number): Tensor {
  const own = overridden('affine', x, scale, offset)
  if (own) return own
  checkDType('affine', 'x', x, 'float32')
  const y = Tensor.empty(x.device, x.shape)
  if (x.numel > 0) x.device.call('affine', { x, scale, offset, y, count: x.numel })
  return record(y, [x], (dy) => [scale === 1 ? dy : mul(dy, scale)])
}

/** y = f(x), value by value. */
export function unary(op: keyof typeof unaryOps, x: Tensor): Tensor {
  if (unaryOps[op] === undefined) check('unary', 'op', op, oneOf(...Object.keys(unaryOps)))
  const own = overridden(op, x)
  if (own) return own
  checkDType(op, 'x', x, 'float32')
  const y = Tensor.empty(x.device, x.shape)
  if (x.numel > 0) x.device.call('unary', { op: unaryOps[op], x, y, count: x.numel })
  return record(y, [x], (dy) => {
    const dx = Tensor.empty(x.device, x.shape)
    if (x.numel > 0) x.device.call('unaryGrad', { op: unaryOps[op], x, y, dy, dx, count: x.numel })
    return [dx]
  })
}

/** y = −x. */
export const neg = (x: Tensor): Tensor => unary('neg', x)
/** y = |x|; its derivative at 0 is 0. */
export const abs = (x: Tensor): Tensor => unary('abs', x)
/** y = eˣ. */
export const exp = (x: Tensor): Tensor => unary('exp', x)
/** y = ln x. */
export const log = (x: Tensor): Tensor => unary('log', x)
/** y = √x. */
export const sqrt = (x: Tensor): Tensor => unary('sqrt', x)
/** y = max(x, 0); its derivative at 0 is 0. */
export const relu = (x: Tensor): Tensor => unary('relu', x)
/** y = x / (1 + e⁻ˣ). */
export const silu = (x: Tensor): Tensor => unary('silu', x)
/** y = 1 / (1 + e⁻ˣ). */
export const sigmoid = (x: Tensor): Tensor => unary('sigmoid', x)
/** y = tanh x. */
export const tanh = (x: Tensor): Tensor => unary('tanh', x)
/** y = x·Φ(x), Φ the normal distribution; or its approximation x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2. */
export function gelu(x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor {
  if (approximate === 'tanh') return unary('geluTanh', x)
  check('gelu', 'approximate', approximate, approximations)
  return unary('gelu', x)
}
/** How the normal distribution is computed. */
export const approximations = oneOf('none', 'tanh')
/** y = max(x, 0) + negativeSlope · min(x, 0). */
export const leakyRelu = (x: Tensor, negativeSlope = 0.01): Tensor =>
  scope(() => sub(relu(x), mul(relu(neg(x)), negativeSlope)))

const aLimit: Kind = {
  must: 'be a number',
  holds: (value) => typeof value === 'number' && !Number.isNaN(value),
}

/** y = x limited to low … high; no gradient passes beyond. */
export function clamp(x: Tensor, low: number, high: number): Tensor {
  checkDType('clamp', 'x', x, 'float32')
  check('clamp', 'low', low, aLimit)
  check('clamp', 'high', high, aLimit)
  const limits = { low: Math.fround(low), high: Math.fround(high) }
  const y = Tensor.empty(x.device, x.shape)
  if (x.numel > 0) x.device.call('clamp', { x, ...limits, y, count: x.numel })
  return record(y, [x], (dy) => {
    const dx = Tensor.empty(x.device, x.shape)
    if (x.numel > 0) x.device.call('clampGrad', { x, dy, ...limits, dx, count: x.numel })
    return [dx]
  })
}

/**
 * y = a where mask is not 0, else b; a and b are float32 of mask's shape, or one number. A quantized a beside
 * a float b is quantized again, by its own scale, which cuts off what of b lies beyond.
 * @param mask bool, uint8 or int8
 */
export function where(mask: Tensor, a: Tensor | number, b: Tensor | number): Tensor {
  const own = overridden('where', mask, a, b)
  if (own) return own
  checkDType('where', 'mask', mask, 'bool', 'uint8', 'int8')
  const [x, xValue] = whereArgument('a', mask, a)
  const [z, zValue] = whereArgument('b', mask, b)
  const y = Tensor.empty(mask.device, mask.shape)
  if (y.numel > 0)
    mask.device.call('where', { mask, a: x, aValue: xValue, b: z, bValue: zValue, y, count: y.numel })
  const asked = { a: needsGrad(x), b: needsGrad(z) }
  return record(y, [x, z], (dy) => [asked.a ? where(mask, dy, 0) : null, asked.b ? where(mask, 0, dy) : null])
}

function whereArgument(
  name: string,
  mask: Tensor,
  value: Tensor | number,
): [tensor: Tensor | null, value: number] {
  if (typeof value === 'number') return [null, value]
  checkDType('where', name, value, 'float32')
  checkShape('where', name, value, mask.shape)
  return [value, 0]
}

/** y = value where mask is not 0, else x. */
export const maskedFill = (x: Tensor, mask: Tensor, value: number): Tensor => where(mask, value, x)

/** y = x / (1 − p) with probability 1 − p, else 0; the same seed decides alike. */
export function dropout(x: Tensor, p: number, seed: number | Scalar): Tensor {
  checkDType('dropout', 'x', x, 'float32')
  if (!(p >= 0 && p <= 1)) throw new ShapeError(`dropout: p must lie in 0..1; received ${p}`)
  const y = Tensor.empty(x.device, x.shape)
  if (x.numel > 0) x.device.call('dropout', { x, p, seed, y, count: x.numel })
  // The same values are dropped of the gradient.
  return record(y, [x], (dy) => [dropout(dy, p, seed)])
}

/** y = silu(gate) · up, silu(z) = z / (1 + exp(−z)), for float32 of one shape. */
export function siluMul(gate: Tensor, up: Tensor): Tensor {
  checkDType('siluMul', 'gate', gate, 'float32')
  checkDType('siluMul', 'up', up, 'float32')
  checkShape('siluMul', 'up', up, gate.shape)
  const y = Tensor.empty(gate.device, gate.shape)
  if (y.numel > 0) gate.device.call('siluMul', { gate, up, y, count: y.numel })
  const asked = { gate: needsGrad(gate), up: needsGrad(up) }
  return record(y, [gate, up], (dy) => {
    const activated = silu(gate)
    const dActivated = mul(dy, up)
    if (asked.gate && y.numel > 0)
      gate.device.call('unaryGrad', {
        op: unaryOps.silu,
        x: gate,
        y: activated,
        dy: dActivated,
        dx: dActivated,
        count: y.numel,
      })
    return [asked.gate ? dActivated : null, asked.up ? mul(dy, activated) : null]
  })
}

/** x in another float dtype, rounded half to even. Itself, as a view, when it has that dtype. */
export function cast(x: Tensor, dtype: DType): Tensor {
  checkTensor('cast', 'x', x)
  if (x.dtype === dtype) return x.view(x.shape)
  checkDType('cast', 'x', x, ...floats)
  if (!floats.includes(dtype))
    throw new DTypeError(`cast: the new dtype must be ${floats.join(' or ')}; received ${show(dtype)}`)
  const y = Tensor.empty(x.device, x.shape, dtype)
  if (x.numel > 0)
    x.device.call('cast', { x, xDtype: dtypes[x.dtype].code, y, yDtype: dtypes[dtype].code, count: x.numel })
  return record(y, [x], (dy) => [cast(dy, x.dtype)])
}

const floats: DType[] = ['float32', 'float16', 'bfloat16', 'float8_e4m3fn', 'float8_e5m2', 'float8_e4m3fnuz']
