import { aFunction, check, type Kind } from '../core/kinds.ts'
import { unaryInt8Ops } from '../kernels/quantize/unaryInt8/unaryInt8.ts'
import { type Handler, type Op, op } from '../tensor/op.ts'
import { expand } from '../tensor/ops/broadcast.ts'
import { affine, clamp, div, neg, type Operand, relu, unary, where } from '../tensor/ops/elementwise.ts'
import { matmul } from '../tensor/ops/matmul.ts'
import { softmax } from '../tensor/ops/reduce.ts'
import { concat, permute, slice } from '../tensor/ops/shape.ts'
import { scope } from '../tensor/scope.ts'
import { needsGrad, noGrad } from '../tensor/tape.ts'
import { clone, detach, rows, Tensor, view } from '../tensor/tensor.ts'
import type { QActivation } from './activation.ts'

/**
 * What an operation makes of quantized activations, given the operation's own arguments, of which any may be
 * quantized; undefined where it cannot compute on codes and is to have the floats.
 */
export type QuantizedOp<Args extends readonly unknown[]> = (...args: Args) => Tensor | undefined

/**
 * The operations that keep quantized activations quantized. Every other operation computes on floats.
 * Source: optimum-quanto 0.2.7, tensor/activations/qbytes_ops.py.
 */
export const quantizedOps: Map<unknown, Handler> = new Map([
  entry(
    view,
    first((x, shape) => onCodes(x, (values) => values.view(shape))),
  ),
  entry(
    clone,
    first((x) => onCodes(x, (values) => values.clone())),
  ),
  entry(
    detach,
    first((x) => x.withCodes(x.codes.detach())),
  ),
  entry(
    rows,
    first((x, start, end) => onCodes(x, (values) => values.rows(start, end))),
  ),
  entry(
    permute,
    first((x, axes) => onCodes(x, (values) => permute(values, axes))),
  ),
  entry(
    expand,
    first((x, shape) => onCodes(x, (values) => expand(values, shape))),
  ),
  entry(
    slice,
    first((x, ...range) => onCodes(x, (values) => slice(values, ...range))),
  ),
  entry(concat, joined),
  entry(affine, first(rescaled)),
  entry(div, divided),
  entry(where, chosen),
  entry(softmax, first(normalized)),
  entry(matmul, product),
  entry(
    neg,
    first((x) => unaryOnCodes('neg', x)),
  ),
  entry(
    relu,
    first((x) => unaryOnCodes('relu', x)),
  ),
  entry(clamp, first(limited)),
])

/**
 * Adds an operation that understands quantized activations, or replaces one. Wherever an argument is
 * quantized, `handler` is asked first, with the operation's arguments.
 *
 *     registerQuantizedOp(ops.relu, (x) => (x instanceof QActivation ? … : undefined))
 */
export function registerQuantizedOp<Args extends readonly unknown[], Y>(
  operation: Op<Args, Y>,
  handler: QuantizedOp<Args>,
): void {
  check('registerQuantizedOp', 'operation', operation, anOperation)
  check('registerQuantizedOp', 'handler', handler, aFunction)
  quantizedOps.set(...entry(operation, handler))
}

const anOperation: Kind = {
  must: 'be an operation, such as ops.relu',
  holds: (value) => typeof value === 'function' && 'parameters' in value,
}

/** A handler that notes, where it kept its arguments quantized, which operation did. */
function entry<Args extends readonly unknown[], Y>(
  operation: Op<Args, Y>,
  handler: QuantizedOp<Args>,
): [unknown, Handler] {
  const noting = (...args: Args) => {
    const y = handler(...args)
    const given: unknown[] = args.flat()
    if (isQuantized(y)) given.find(isQuantized)?.use?.keptBy.add(operation.name)
    return y
  }
  return [operation, noting as unknown as Handler]
}

/** A handler of what computes on the codes of its first argument. */
function first<Rest extends readonly unknown[]>(
  handler: (x: QActivation, ...rest: Rest) => Tensor | undefined,
): QuantizedOp<[x: Tensor, ...rest: Rest]> {
  return (x, ...rest) => (isQuantized(x) ? handler(x, ...rest) : undefined)
}

/** Applies `op`, which only moves or picks values, to the codes; the scale stays. */
export function onCodes(x: QActivation, op: (values: Tensor) => Tensor): QActivation {
  return withGradient(x, x.withCodes(noGrad(() => op(x.codes))), op)
}

/** y, through which the gradient passes as through `op` on floats. */
function withGradient(x: QActivation, y: QActivation, op: (values: Tensor) => Tensor): QActivation {
  return needsGrad(x) ? throughFloats(y, op(x.dequantize())) : y
}

/** y, whose gradient passes to the floats that it stands for. */
const throughFloats = op(
  'throughFloats(y, floats)',
  (y: QActivation, _floats: Tensor) => y,
  ({ dy }) => [null, dy],
)

/** int8 only: float8 goes through floats, as in quanto. */
function unaryOnCodes(op: keyof typeof unaryInt8Ops, x: QActivation): QActivation | undefined {
  if (x.qtype.dtype !== 'int8') return undefined
  const codes = Tensor.empty(x.device, x.shape, 'int8')
  if (x.numel > 0) x.device.call('unaryInt8', { op: unaryInt8Ops[op], x: x.codes, y: codes, count: x.numel })
  return withGradient(x, x.withCodes(codes), (values) => unary(op, values))
}

/** Limited to the codes nearest to the bounds, so at most half a step beyond them; int8 only. */
function limited(x: QActivation, low: number, high: number): QActivation | undefined {
  if (x.qtype.dtype !== 'int8') return undefined
  const y = Tensor.empty(x.device, x.shape, 'int8')
  const bounds = { low: Math.fround(low), high: Math.fround(high) }
  if (x.numel > 0) x.device.call('clampInt8', { x: x.codes, scale: x.scale, ...bounds, y, count: x.numel })
  return withGradient(x, x.withCodes(y), (values) => clamp(values, low, high))
}

/** Tensors of one origin, and so of one scale, are laid behind one another as codes; int8 only. */
function joined(tensors: readonly Tensor[], axis = 0): QActivation | undefined {
  const [first] = tensors
  if (!isQuantized(first) || first.qtype.dtype !== 'int8') return undefined
  const alike = tensors.filter(
    (x): x is QActivation => isQuantized(x) && x.qtype === first.qtype && x.sharesScale(first),
  )
  if (alike.length < tensors.length) return undefined
  const codes = alike.map((x) => x.codes)
  const y = first.withCodes(noGrad(() => concat(codes, axis)))
  if (!alike.some(needsGrad)) return y
  const floats = alike.map((x) => x.dequantize())
  return throughFloats(y, concat(floats, axis))
}

/** A positive factor goes to the scale. */
function rescaled(x: QActivation, factor: number, offset: number): QActivation | undefined {
  if (offset !== 0 || !(factor > 0)) return undefined
  const scale = noGrad(() => affine(x.scale, factor, -0))
  const y = x.withCodes(x.codes.detach(), scale)
  return withGradient(x, y, (values) => affine(values, factor, offset))
}

/** The scale is divided by a positive number. */
function divided(x: Operand, divisor: Operand): QActivation | undefined {
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
function chosen(mask: Tensor, a: Operand, b: Operand): QActivation | undefined {
  if (!isQuantized(a) || isQuantized(b)) return undefined
  return scope(() => a.requantize(where(mask, a.dequantize(), b), a.scale))
}

/** Computed on floats; since no result is above 1, its scale is known to be 1 / qmax. */
function normalized(x: QActivation, axis = -1): QActivation {
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
