import { aFunction, aString, check } from '../core/kinds.ts'
import type { Shape } from '../core/shape.ts'
import { unaryInt8Ops } from '../kernels/quantize/unaryInt8/unaryInt8.ts'
import { expand } from '../tensor/ops/broadcast.ts'
import { affine, div, unary, where } from '../tensor/ops/elementwise.ts'
import { matmul } from '../tensor/ops/matmul.ts'
import { softmax } from '../tensor/ops/reduce.ts'
import { concat, permute, slice } from '../tensor/ops/shape.ts'
import { scope } from '../tensor/scope.ts'
import { needsGrad, noGrad, record } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { QActivation } from './activation.ts'

/**
 * What an operation makes of quantized activations, given the operation's own arguments; undefined where it
 * cannot compute on codes and is to have the floats.
 */
export type QuantizedOp = (...args: never[]) => Tensor | undefined

/**
 * The operations that keep quantized activations quantized, by name. Every other operation computes on
 * floats.
 * Source: optimum-quanto 0.2.7, tensor/activations/qbytes_ops.py.
 */
const quantizedOps = new Map<string, QuantizedOp>([
  ['view', (x: QActivation, shape: Shape) => onCodes(x, (values) => values.view(shape))],
  ['clone', (x: QActivation) => onCodes(x, (values) => values.clone())],
  ['detach', (x: QActivation) => x.withCodes(x.codes.detach())],
  ['rows', (x: QActivation, start: number, end: number) => onCodes(x, (values) => values.rows(start, end))],
  ['permute', (x: QActivation, axes: readonly number[]) => onCodes(x, (values) => permute(values, axes))],
  ['expand', (x: QActivation, shape: Shape) => onCodes(x, (values) => expand(values, shape))],
  [
    'slice',
    (x: QActivation, axis: number, start: number, end?: number, step?: number) =>
      onCodes(x, (values) => slice(values, axis, start, end, step)),
  ],
  ['concat', joined],
  ['affine', rescaled],
  ['div', divided],
  ['where', chosen],
  ['softmax', normalized],
  ['matmul', product],
  ['neg', (x: QActivation) => unaryOnCodes('neg', x)],
  ['relu', (x: QActivation) => unaryOnCodes('relu', x)],
])

/** The handler of an operation, if there is one. */
export function quantizedOp(operation: string): QuantizedOp | undefined {
  return quantizedOps.get(operation)
}

/**
 * Adds an operation that understands quantized activations, or replaces one. `operation` asks for it by
 * `overridden(operation, ...args)`; the handler takes the same arguments.
 */
export function registerQuantizedOp(operation: string, handler: QuantizedOp): void {
  check('registerQuantizedOp', 'operation', operation, aString)
  check('registerQuantizedOp', 'handler', handler, aFunction)
  quantizedOps.set(operation, handler)
}

/** Applies `op`, which only moves or picks values, to the codes; the scale stays. */
export function onCodes(x: QActivation, op: (values: Tensor) => Tensor): QActivation {
  return withGradient(x, x.withCodes(noGrad(() => op(x.codes))), op)
}

/** y, through which the gradient passes as through `op` on floats. */
function withGradient(x: QActivation, y: QActivation, op: (values: Tensor) => Tensor): QActivation {
  if (needsGrad(x)) record(y, [op(x.dequantize())], (dy) => [dy])
  return y
}

/** int8 only: float8 goes through floats, as in quanto. */
function unaryOnCodes(op: keyof typeof unaryInt8Ops, x: QActivation): QActivation | undefined {
  if (x.qtype.dtype !== 'int8') return undefined
  const codes = Tensor.empty(x.device, x.shape, 'int8')
  if (x.numel > 0) x.device.call('unaryInt8', { op: unaryInt8Ops[op], x: x.codes, y: codes, count: x.numel })
  return withGradient(x, x.withCodes(codes), (values) => unary(op, values))
}

/** Tensors of one origin, and so of one scale, are laid behind one another as codes; int8 only. */
function joined(tensors: readonly Tensor[], axis: number): QActivation | undefined {
  const [first] = tensors
  if (!isQuantized(first) || first.qtype.dtype !== 'int8') return undefined
  const alike = tensors.filter(
    (x): x is QActivation => isQuantized(x) && x.qtype === first.qtype && x.sharesScale(first),
  )
  if (alike.length < tensors.length) return undefined
  const codes = alike.map((x) => x.codes)
  const y = first.withCodes(noGrad(() => concat(codes, axis)))
  if (alike.some(needsGrad)) {
    const floats = alike.map((x) => x.dequantize())
    record(y, [concat(floats, axis)], (dy) => [dy])
  }
  return y
}

/** A positive factor goes to the scale. */
function rescaled(x: QActivation, factor: number, offset: number): QActivation | undefined {
  if (offset !== 0 || !(factor > 0)) return undefined
  const scale = noGrad(() => affine(x.scale, factor, -0))
  const y = x.withCodes(x.codes.detach(), scale)
  if (needsGrad(x)) record(y, [affine(x.dequantize(), factor, offset)], (dy) => [dy])
  return y
}

/** The scale is divided by a positive number. */
function divided(x: Tensor, divisor: Tensor | number): QActivation | undefined {
  if (!isQuantized(x) || typeof divisor !== 'number' || !(divisor > 0)) return undefined
  const y = x.withCodes(
    x.codes.detach(),
    noGrad(() => div(x.scale, divisor)),
  )
  return withGradient(x, y, (values) => div(values, divisor))
}

/**
 * Computed on floats, and quantized again by the scale of `a`; where `b` is quantized, too, the result is
 * float.
 */
function chosen(mask: Tensor, a: Tensor | number, b: Tensor | number): QActivation | undefined {
  if (!isQuantized(a) || isQuantized(b)) return undefined
  return scope(() => a.requantize(where(mask, a.dequantize(), b), a.scale))
}

/** Computed on floats; since no result is above 1, its scale is known to be 1 / qmax. */
function normalized(x: QActivation, axis: number): QActivation {
  return scope(() => {
    const scale = Tensor.empty(x.device, [])
    x.device.call('fill', { y: scale, value: 1 / x.qtype.qmax, count: 1 })
    return x.requantize(softmax(x.dequantize(), axis), scale)
  })
}

/**
 * (Σₖ q[m,k] · p[k,n]) · (scale · otherScale): whole numbers, exact in float32 for up to 1040 of them.
 * Training computes on floats.
 */
function product(a: Tensor, b: Tensor): Tensor | undefined {
  if (!isQuantized(a) || !isQuantized(b) || a.qtype.dtype !== 'int8' || b.qtype.dtype !== 'int8')
    return undefined
  if (needsGrad(a) || needsGrad(b)) return undefined
  for (const { use } of [a, b]) if (use) use.taken = true
  return noGrad(() =>
    scope(() => {
      const sums = matmul(a.codeValues(), b.codeValues())
      const scale = Tensor.empty(a.device, [])
      a.device.call('scaleBy', { x: a.scale, factor: b.scale, y: scale, count: 1 })
      if (sums.numel > 0) a.device.call('scaleBy', { x: sums, factor: scale, y: sums, count: sums.numel })
      return sums
    }),
  )
}

function isQuantized(x: unknown): x is QActivation {
  return x instanceof Tensor && 'codes' in x
}
