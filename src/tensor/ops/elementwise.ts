import { type DType, dtypes } from '../../core/dtype.ts'
import { DTypeError, ShapeError } from '../../core/errors.ts'
import { check, type Kind, oneOf, show } from '../../core/kinds.ts'
import { sameShape } from '../../core/shape.ts'
import type { Scalar } from '../../devices/commandList.ts'
import { binaryOps } from '../../kernels/elementwise/binary/binary.ts'
import { unaryOps } from '../../kernels/elementwise/unary/unary.ts'
import { type Op, op } from '../op.ts'
import { PendingRows, type RowsOf } from '../pendingRows.ts'
import { scope } from '../scope.ts'
import type { Gradient } from '../tape.ts'
import { checkDType, checkShape, checkTensor, Tensor } from '../tensor.ts'
import { broadcastShape, expand, sumTo } from './broadcast.ts'

/** y = a ∘ b, value by value, without a tape; sizes of 1, and missing ones in front, are repeated. */
function binary(name: keyof typeof binaryOps, a: Tensor, b: Tensor): Tensor {
  checkDType(name, 'a', a, 'float32')
  checkDType(name, 'b', b, 'float32')
  const cols = a.size(-1) ?? 1
  const same = sameShape(a.shape, b.shape)
  if (!same && !sameShape(b.shape, [cols])) {
    const shape = broadcastShape(name, a.shape, b.shape)
    return scope(() => binary(name, expand(a, shape), expand(b, shape)))
  }
  const y = Tensor.empty(a.device, a.shape)
  const rows = a.numel / cols
  if (a.numel > 0)
    a.device.call('binary', { op: binaryOps[name], a, b, y, rows, cols, bRowStride: same ? cols : 0 })
  return y
}

/** y = a + b of two tensors: what `add` calls for them. */
export const addTensors = op(
  'add(a, b)',
  (a: Tensor, b: Tensor): Tensor => binary('add', a, b),
  ({ dy, needs }, a, b) => [needs(a) ? sumTo(dy, a.shape) : null, needs(b) ? sumTo(dy, b.shape) : null],
)

const subTensors = op(
  'sub(a, b)',
  (a: Tensor, b: Tensor): Tensor => binary('sub', a, b),
  ({ dy, needs }, a, b) => [needs(a) ? sumTo(dy, a.shape) : null, needs(b) ? sumTo(neg(dy), b.shape) : null],
)

const mulTensors = op(
  'mul(a, b)',
  (a: Tensor, b: Tensor): Tensor => binary('mul', a, b),
  ({ dy, needs }, a, b) => [
    needs(a) ? sumTo(mul(dy, b), a.shape) : null,
    needs(b) ? sumTo(mul(dy, a), b.shape) : null,
  ],
)

/** A tensor, or a number in the place of one that holds it everywhere. */
export type Operand = Tensor | number

/** @throws DTypeError unless one of the operands is a tensor, and the other one, too, or a number */
function checkOperands(op: string, a: Operand, b: Operand): void {
  if (
    a instanceof Tensor
      ? b instanceof Tensor || typeof b === 'number'
      : typeof a === 'number' && b instanceof Tensor
  )
    return
  const kinds = [a, b].map((operand) => (operand instanceof Tensor ? 'tensor' : typeof operand))
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
      : addTensors(a, b)
}

/** y = a − b; either may be a number. */
export function sub(a: Operand, b: Operand): Tensor {
  checkOperands('sub', a, b)
  return typeof a === 'number'
    ? affine(b as Tensor, -1, a)
    : typeof b === 'number'
      ? affine(a, 1, -b)
      : subTensors(a, b)
}

/** y = a · b; either may be a number. */
export function mul(a: Operand, b: Operand): Tensor {
  checkOperands('mul', a, b)
  // Adding −0 changes nothing, not even the sign of a zero.
  return typeof a === 'number'
    ? affine(b as Tensor, a, -0)
    : typeof b === 'number'
      ? affine(a, b, -0)
      : mulTensors(a, b)
}

/** y = a / b; either may be a number. */
export const div = op(
  'div(a, b)',
  (a: Operand, b: Operand): Tensor => {
    checkOperands('div', a, b)
    return scope(() => binary('div', asRow(a, b), asRow(b, a)))
  },
  ({ dy, y, needs }, a, b): Gradient[] => {
    const da = div(dy, b)
    return [
      a instanceof Tensor && needs(a) ? sumTo(da, a.shape) : null,
      b instanceof Tensor && needs(b) ? sumTo(neg(mul(da, y)), b.shape) : null,
    ]
  },
)

/** A number as a row as long as those of the other operand. */
function asRow(a: Operand, other: Operand): Tensor {
  if (a instanceof Tensor) return a
  const { device, shape } = other as Tensor
  return Tensor.full(device, shape.slice(-1), a)
}

/** y = x · scale + offset for two numbers, product and sum each rounded. */
export const affine = op(
  'affine(x, scale, offset)',
  (x: Tensor, scale: number, offset: number): Tensor => {
    checkDType('affine', 'x', x, 'float32')
    const y = Tensor.empty(x.device, x.shape)
    if (x.numel > 0) x.device.call('affine', { x, scale, offset, y, count: x.numel })
    return y
  },
  ({ dy }, _x, scale) => [scale === 1 ? dy : mul(dy, scale)],
)

function unaryOp(name: keyof typeof unaryOps): Op<[x: Tensor], Tensor> {
  return op(
    `${name}(x)`,
    (x: Tensor) => {
      checkDType(name, 'x', x, 'float32')
      const y = Tensor.empty(x.device, x.shape)
      if (x.numel > 0) x.device.call('unary', { op: unaryOps[name], x, y, count: x.numel })
      return y
    },
    ({ dy, y }, x) => {
      const dx = Tensor.empty(x.device, x.shape)
      if (x.numel > 0) x.device.call('unaryGrad', { op: unaryOps[name], x, y, dy, dx, count: x.numel })
      return [dx]
    },
  )
}

const unaries = Object.fromEntries(
  (Object.keys(unaryOps) as (keyof typeof unaryOps)[]).map((name) => [name, unaryOp(name)]),
) as Record<keyof typeof unaryOps, Op<[x: Tensor], Tensor>>

/** y = f(x), value by value. */
export function unary(op: keyof typeof unaryOps, x: Tensor): Tensor {
  if (unaryOps[op] === undefined) check('unary', 'op', op, oneOf(...Object.keys(unaryOps)))
  return unaries[op](x)
}

/** y = −x. */
export const neg = unaries.neg
/** y = |x|; its derivative at 0 is 0. */
export const abs = unaries.abs
/** y = eˣ. */
export const exp = unaries.exp
/** y = ln x. */
export const log = unaries.log
/** y = √x. */
export const sqrt = unaries.sqrt
/** y = max(x, 0); its derivative at 0 is 0. */
export const relu = unaries.relu
/** y = x / (1 + e⁻ˣ). */
export const silu = unaries.silu
/** y = 1 / (1 + e⁻ˣ). */
export const sigmoid = unaries.sigmoid
/** y = tanh x. */
export const tanh = unaries.tanh

/** y = x·Φ(x), Φ the normal distribution; or its approximation x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2. */
export function gelu(x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor {
  if (approximate === 'tanh') return unaries.geluTanh(x)
  check('gelu', 'approximate', approximate, approximations)
  return unaries.gelu(x)
}
/** How the normal distribution is computed. */
export const approximations = oneOf('none', 'tanh')
/** y = max(x, 0) + negativeSlope · min(x, 0). */
export const leakyRelu = op('leakyRelu(x, negativeSlope)', (x: Tensor, negativeSlope: number = 0.01) =>
  scope(() => sub(relu(x), mul(relu(neg(x)), negativeSlope))),
)

const aLimit: Kind = {
  must: 'be a number',
  holds: (value) => typeof value === 'number' && !Number.isNaN(value),
}

/** y = x limited to low … high; no gradient passes beyond. */
export const clamp = op(
  'clamp(x, low, high)',
  (x: Tensor, low: number, high: number): Tensor => {
    checkDType('clamp', 'x', x, 'float32')
    check('clamp', 'low', low, aLimit)
    check('clamp', 'high', high, aLimit)
    const y = Tensor.empty(x.device, x.shape)
    if (x.numel > 0) x.device.call('clamp', { x, ...rounded(low, high), y, count: x.numel })
    return y
  },
  ({ dy }, x, low, high) => {
    const dx = Tensor.empty(x.device, x.shape)
    if (x.numel > 0) x.device.call('clampGrad', { x, dy, ...rounded(low, high), dx, count: x.numel })
    return [dx]
  },
)

const rounded = (low: number, high: number) => ({ low: Math.fround(low), high: Math.fround(high) })

/**
 * y = a where mask is not 0, else b; a and b are float32 of mask's shape, or one number. A quantized a beside
 * a float b is quantized again, by its own scale, which cuts off what of b lies beyond.
 * @param mask bool, uint8 or int8
 */
export const where = op(
  'where(mask, a, b)',
  (mask: Tensor, a: Operand, b: Operand): Tensor => {
    checkDType('where', 'mask', mask, 'bool', 'uint8', 'int8')
    const [x, aValue] = whereArgument('a', mask, a)
    const [z, bValue] = whereArgument('b', mask, b)
    const y = Tensor.empty(mask.device, mask.shape)
    if (y.numel > 0) mask.device.call('where', { mask, a: x, aValue, b: z, bValue, y, count: y.numel })
    return y
  },
  ({ dy, needs }, mask, a, b): Gradient[] => [
    null,
    needs(a) ? where(mask, dy, 0) : null,
    needs(b) ? where(mask, 0, dy) : null,
  ],
)

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
export const dropout = op(
  'dropout(x, p, seed)',
  (x: Tensor, p: number, seed: number | Scalar): Tensor => {
    checkDType('dropout', 'x', x, 'float32')
    if (!(p >= 0 && p <= 1)) throw new ShapeError(`dropout: p must lie in 0..1; received ${p}`)
    const y = Tensor.empty(x.device, x.shape)
    if (x.numel > 0) x.device.call('dropout', { x, p, seed, y, count: x.numel })
    return y
  },
  // The same values are dropped of the gradient.
  ({ dy }, _x, p, seed): Gradient[] => [dropout(dy, p, seed)],
)

/** y = silu(gate) · up, silu(z) = z / (1 + exp(−z)), for float32 of one shape. */
export const siluMul = op(
  'siluMul(gate, up)',
  (gate: Tensor, up: Tensor): Tensor => {
    checkDType('siluMul', 'gate', gate, 'float32')
    checkDType('siluMul', 'up', up, 'float32')
    checkShape('siluMul', 'up', up, gate.shape)
    if (gate.numel === 0) return Tensor.empty(gate.device, gate.shape)
    return new PendingRows(gate.shape, siluMulRows, gate, up)
  },
  ({ dy, needs }, gate, up) => {
    const activated = silu(gate)
    const dActivated = mul(dy, up)
    const inPlace = { dy: dActivated, dx: dActivated, count: gate.numel }
    if (needs(gate) && gate.numel > 0)
      gate.device.call('unaryGrad', { op: unaryOps.silu, x: gate, y: activated, ...inPlace })
    return [needs(gate) ? dActivated : null, needs(up) ? mul(dy, activated) : null]
  },
)

const siluMulRows: RowsOf<[gate: Tensor, up: Tensor]> = {
  floats(y, gate, up) {
    y.device.call('siluMul', { gate, up, y, count: y.numel })
  },
  int8(into, gate, up) {
    gate.device.call('quantizeSiluMul', { gate, up, ...into })
  },
}

/** x in another float dtype, rounded half to even. Itself, as a view, when it has that dtype. */
export const cast = op(
  'cast(x, dtype)',
  (x: Tensor, dtype: DType): Tensor => {
    checkTensor('cast', 'x', x)
    if (x.dtype === dtype) return x.view(x.shape)
    checkDType('cast', 'x', x, ...floats)
    if (!floats.includes(dtype))
      throw new DTypeError(`cast: the new dtype must be ${floats.join(' or ')}; received ${show(dtype)}`)
    const y = Tensor.empty(x.device, x.shape, dtype)
    const codes = { xDtype: dtypes[x.dtype].code, yDtype: dtypes[dtype].code }
    if (x.numel > 0) x.device.call('cast', { x, y, ...codes, count: x.numel })
    return y
  },
  ({ dy }, x): Gradient[] => [cast(dy, x.dtype)],
)

const floats: DType[] = [
  'float32',
  'float16',
  'bfloat16',
  'float8_e4m3fn',
  'float8_e5m2',
  'float8_e4m3fnuz',
  'float8_e8m0fnu',
]
