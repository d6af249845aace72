import type { Shape } from '../core/shape.ts'
import { unaryInt8Ops } from '../kernels/unaryInt8/unaryInt8.ts'
import { unary } from '../tensor/ops/elementwise.ts'
import { needsGrad, noGrad, record } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { QActivation } from './activation.ts'

/**
 * What an operation makes of quantized activations, given the operation's own arguments; undefined where it cannot compute on codes and is
 * to have the floats.
 */
export type QuantizedOp = (...args: never[]) => Tensor | undefined

/**
 * The operations that keep quantized activations quantized, by name. Every other operation computes on floats.
 * Source: optimum-quanto 0.2.7, tensor/activations/qbytes_ops.py.
 */
const quantizedOps = new Map<string, QuantizedOp>([
  ['view', (x: QActivation, shape: Shape) => onCodes(x, (values) => values.view(shape))],
  ['clone', (x: QActivation) => onCodes(x, (values) => values.clone())],
  ['detach', (x: QActivation) => x.withCodes(x.codes.detach())],
  ['rows', (x: QActivation, start: number, end: number) => onCodes(x, (values) => values.rows(start, end))],
  ['neg', (x: QActivation) => unaryOnCodes('neg', x)],
  ['relu', (x: QActivation) => unaryOnCodes('relu', x)],
])

/** The handler of an operation, if there is one. */
export function quantizedOp(operation: string): QuantizedOp | undefined {
  return quantizedOps.get(operation)
}

/**
 * Adds an operation that understands quantized activations, or replaces one. `operation` asks for it by `overridden(operation, ...args)`;
 * the handler takes the same arguments.
 */
export function registerQuantizedOp(operation: string, handler: QuantizedOp): void {
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
  if (x.numel > 0) x.device.call('unaryInt8', unaryInt8Ops[op], x.codes, codes, x.numel)
  return withGradient(x, x.withCodes(codes), (values) => unary(op, values))
}
