import { type DType, dtypes } from '../../core/dtype.ts'
import { ShapeError } from '../../core/errors.ts'
import { sameShape, showShape } from '../../core/shape.ts'
import { binaryOps } from '../../kernels/binary/binary.ts'
import { unaryOps } from '../../kernels/unary/unary.ts'
import { overridden } from '../override.ts'
import { checkDType, checkShape, Tensor } from '../tensor.ts'

/**
 * y = a ∘ b, value by value; b may be one row [cols] for all rows of a.
 * @throws ShapeError if b has neither a's shape nor that of its last dimension.
 */
function binary(op: keyof typeof binaryOps, a: Tensor, b: Tensor): Tensor {
  checkDType(op, 'a', a, 'float32')
  checkDType(op, 'b', b, 'float32')
  const same = sameShape(a.shape, b.shape)
  const cols = a.size(-1) ?? 1
  if (!same && !sameShape(b.shape, [cols])) {
    throw new ShapeError(`${op}: b must be ${showShape(a.shape)} or ${showShape([cols])}; received ${showShape(b.shape)}`)
  }
  const y = Tensor.empty(a.device, a.shape)
  if (a.numel > 0) a.device.call('binary', binaryOps[op], a, b, y, a.numel / cols, cols, same ? cols : 0)
  return y
}

/** y = a + b; shapes as in every binary operation: equal, or b one row of a. */
export const add = (a: Tensor, b: Tensor): Tensor => binary('add', a, b)
/** y = a − b. */
export const sub = (a: Tensor, b: Tensor): Tensor => binary('sub', a, b)
/** y = a · b. */
export const mul = (a: Tensor, b: Tensor): Tensor => binary('mul', a, b)
/** y = a / b. */
export const div = (a: Tensor, b: Tensor): Tensor => binary('div', a, b)

/** y = f(x), value by value. */
export function unary(op: keyof typeof unaryOps, x: Tensor): Tensor {
  const own = overridden(op, x)
  if (own) return own
  checkDType(op, 'x', x, 'float32')
  const y = Tensor.empty(x.device, x.shape)
  if (x.numel > 0) x.device.call('unary', unaryOps[op], x, y, x.numel)
  return y
}

/** y = silu(gate) · up, silu(z) = z / (1 + exp(−z)), for float32 of one shape. */
export function siluMul(gate: Tensor, up: Tensor): Tensor {
  checkDType('siluMul', 'gate', gate, 'float32')
  checkDType('siluMul', 'up', up, 'float32')
  checkShape('siluMul', 'up', up, gate.shape)
  const y = Tensor.empty(gate.device, gate.shape)
  if (y.numel > 0) gate.device.call('siluMul', gate, up, y, y.numel)
  return y
}

/** x in another float dtype, rounded half to even. Itself, as a view, when it has that dtype. */
export function cast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x.view(x.shape)
  checkDType('cast', 'x', x, ...floats)
  const y = Tensor.empty(x.device, x.shape, dtype)
  checkDType('cast', 'the new dtype', y, ...floats)
  if (x.numel > 0) x.device.call('cast', x, dtypes[x.dtype].code, y, dtypes[dtype].code, x.numel)
  return y
}

const floats: DType[] = ['float32', 'float16', 'bfloat16', 'float8_e4m3fn', 'float8_e5m2', 'float8_e4m3fnuz']
