import { ShapeError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import { showShape } from '../core/shape.ts'
import { op } from '../tensor/op.ts'
import { expand } from '../tensor/ops/broadcast.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { concat, slice } from '../tensor/ops/shape.ts'
import { scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type Block, matrixShape } from './parts.ts'
import type { Quantizer, ScaleAndShift } from './quantizer.ts'
import { decodeRows, encodeRows, roundRows } from './rows.ts'

/** Codes with the scales and offsets of their blocks. */
type CodesAndScales = ScaleAndShift & { codes: Tensor }

/** A weight as a matrix whose rows are groups of G columns. */
export function groupsOf(weight: Tensor, G: number): Tensor {
  const [, K] = matrixShape(weight.shape)
  if (K % G !== 0)
    throw new ShapeError(
      `quantize: ${K} columns must divide into groups of ${G}; weight ${showShape(weight.shape)}`,
    )
  return weight.view([weight.numel / G, G])
}

/**
 * Adds the nearest codes [groups, G], one byte each, to the scales that a quantizer chose, unless it chose
 * the codes, too.
 */
export function quantizeGroups(groups: Tensor, qtype: QType, chosen: ScaleAndShift): CodesAndScales {
  if (chosen.codes) return { ...chosen, codes: chosen.codes }
  return { ...chosen, codes: encodeRows(cast(groups, chosen.scale.dtype), chosen, qtype) }
}

/**
 * The floats [N, K] of codes [N, K], in the dtype of the scales; scales and offsets have the shape of the
 * blocks.
 */
export function dequantizeBlocks(qtype: QType, parts: CodesAndScales, block: Block): Tensor {
  const { codes } = parts
  const [N, K] = codes.shape
  if (block.kind === 'group') return dequantizeRows(qtype, parts, block.size)
  if (block.kind === 'run') {
    const flat = mapScales(parts, (values) => values.view([1, values.numel]))
    return dequantizeRows(qtype, { ...flat, codes: codes.view([1, N * K]) }, block.size).view([N, K])
  }
  const rows = mapScales(parts, (values) => repeatRows(values, block.rows, N))
  return dequantizeRows(qtype, rows, block.columns)
}

/** [R, C] → [N, C]: row n is row ⌊n / times⌋. */
export function repeatRows(values: Tensor, times: number, N: number): Tensor {
  const [rows, cols] = values.shape
  const repeated = expand(values.view([rows, 1, cols]), [rows, times, cols]).view([rows * times, cols])
  return slice(repeated, 0, 0, N)
}

/** Of codes [N, K] in groups of G columns, the last of a row perhaps shorter: scales are [N, ⌈K / G⌉]. */
function dequantizeRows(qtype: QType, parts: CodesAndScales, G: number): Tensor {
  const { codes } = parts
  const [N, K] = codes.shape
  if (K < G) return dequantizeRows(qtype, parts, K)
  if (K % G === 0) {
    const groups = mapScales(parts, (values) => values.view([values.numel]))
    return decodeRows(codes.view([(N * K) / G, G]), groups, qtype).view([N, K])
  }
  const whole = Math.floor(K / G)
  const cut = (columns: readonly [number, number], groups: readonly [number, number]) => ({
    ...mapScales(parts, (values) => slice(values, 1, ...groups)),
    codes: slice(codes, 1, ...columns),
  })
  const first = dequantizeRows(qtype, cut([0, whole * G], [0, whole]), G)
  const rest = dequantizeRows(qtype, cut([whole * G, K], [whole, whole + 1]), K - whole * G)
  return concat([first, rest], 1)
}

function mapScales(parts: CodesAndScales, f: (values: Tensor) => Tensor): CodesAndScales {
  const { scale, shift, zeroPoint } = parts
  return { ...parts, scale: f(scale), shift: shift && f(shift), zeroPoint: zeroPoint && f(zeroPoint) }
}

/**
 * Without a tape and in a scope of its own: what is computed on the way to a quantized weight has no gradient
 * and is not kept for one.
 */
export function withoutGradient<R>(body: () => R): R {
  return noGrad(() => scope(body))
}

/**
 * The float weight that a weight's codes would stand for: `QTensor.quantize`, then `dequantize`, without the
 * packing between. Where nothing but scales and shifts are chosen, one pass makes it. Gradients pass straight
 * through the rounding.
 */
export const fakeQuantize = op(
  'fakeQuantizeWeight(weight, qtype, groupSize, quantizer)',
  (weight: Tensor, qtype: QType, groupSize: number | null, quantizer: Quantizer): Tensor =>
    withoutGradient(() => {
      const groups = groupsOf(weight, groupSize ?? matrixShape(weight.shape)[1])
      const chosen = quantizer(groups, qtype)
      if (chosen.codes || chosen.zeroPoint || chosen.scale.dtype !== weight.dtype) {
        const { codes } = quantizeGroups(groups, qtype, chosen)
        return cast(decodeRows(codes, chosen, qtype), weight.dtype).view(weight.shape)
      }
      return roundRows(groups, chosen, qtype).view(weight.shape)
    }),
  ({ dy }) => [dy],
)
