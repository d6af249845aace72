import { ShapeError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import { quint8 } from '../core/qtypes.ts'
import { type Shape, showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { op } from '../tensor/op.ts'
import { expand } from '../tensor/ops/broadcast.ts'
import { cast, div, mul } from '../tensor/ops/elementwise.ts'
import { concat, permute, slice } from '../tensor/ops/shape.ts'
import { scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import { nestedFloats } from './nestedValues.ts'
import {
  type Block,
  blocksShape,
  isNested,
  matrixShape,
  type NestedScale,
  type Offset,
  type Scale,
  type WeightParts,
} from './parts.ts'
import { permuteColumns } from './permuteColumns.ts'
import { type Quantizer, type ScaleOptions, type Statistics, weightSpec } from './quantizer.ts'
import { decodeRows, encodeRows, type RowScales } from './rows.ts'

/** Codes with the scales and offsets of their blocks. */
type CodesAndScales = RowScales & { codes: Tensor }

/** A weight as a matrix whose rows are groups of G columns. */
export function groupsOf(weight: Tensor, G: number): Tensor {
  const [, K] = matrixShape(weight.shape)
  if (K % G !== 0)
    throw new ShapeError(
      `quantize: ${K} columns must divide into groups of ${G}; weight ${showShape(weight.shape)}`,
    )
  return weight.view([weight.numel / G, G])
}

type TileBlock = Block & { readonly kind: 'tile' }

/** How many tiles there are, [down, across], and how many rows and columns the last ones lack. */
function tileGrid({ rows, columns }: TileBlock, [N, K]: Shape) {
  const [down, across] = [Math.ceil(N / rows), Math.ceil(K / columns)]
  return { down, across, lacking: [down * rows - N, across * columns - K] }
}

/** A matrix [N, K] as one whose rows are its tiles; those that are cut off have zeros at their ends. */
export function tilesOf(weight: Tensor, block: TileBlock): Tensor {
  const { rows, columns } = block
  const { down, across, lacking } = tileGrid(block, weight.shape)
  const zeros = (shape: Shape) => cast(Tensor.full(weight.device, shape, 0), weight.dtype)
  const below = lacking[0] > 0 ? concat([weight, zeros([lacking[0], weight.shape[1]])], 0) : weight
  const whole = lacking[1] > 0 ? concat([below, zeros([down * rows, lacking[1]])], 1) : below
  const tiles = permute(whole.view([down, rows, across, columns]), [0, 2, 1, 3])
  return tiles.view([down * across, rows * columns])
}

/** The inverse of `tilesOf`: a matrix of that shape. */
export function fromTiles(tiles: Tensor, block: TileBlock, shape: Shape): Tensor {
  const { rows, columns } = block
  const { down, across } = tileGrid(block, shape)
  const whole = permute(tiles.view([down, across, rows, columns]), [0, 2, 1, 3])
  return slice(slice(whole.view([down * rows, across * columns]), 0, 0, shape[0]), 1, 0, shape[1])
}

/**
 * The float weight that parts stand for, in its dtype. Every operation is rounded to that dtype where the
 * scales have it; scales of another are applied in float32.
 */
export function dequantizeParts({
  type,
  shape,
  dtype,
  codes,
  block,
  scale,
  offset,
  order,
}: WeightParts): Tensor {
  const divisor = isNested(scale) ? undefined : scale.divisor
  const sameDtype = !isNested(scale) && divisor === undefined && scale.values.dtype === dtype
  const computed = sameDtype ? dtype : 'float32'
  const floatsOf = (values: Scale) => cast(isNested(values) ? nestedFloats(values) : values.values, computed)
  const values = {
    codes,
    scale: floatsOf(scale),
    shift: offset?.kind === 'shift' ? floatsOf(offset) : null,
    zeroPoint:
      offset?.kind === 'zeroPoint'
        ? zeroPointsOf(type, offset, codes.device, blocksShape(block, shape))
        : null,
  }
  const floats =
    offset?.kind === 'zero'
      ? scaledDifferences(type, values, floatsOf(offset), block)
      : dequantizeBlocks(type, values, block)
  const weight = cast(divisor === undefined ? floats : div(floats, divisor), dtype)
  return (order ? permuteColumns(weight, order, 'back') : weight).view(shape)
}

/** scale · (q − zero), the difference and the product each rounded to the scales' dtype. */
function scaledDifferences(type: QType, parts: CodesAndScales, zero: Tensor, block: Block): Tensor {
  const { codes, scale } = parts
  const one = cast(Tensor.full(codes.device, scale.shape, 1), scale.dtype)
  const differences = dequantizeBlocks(type, { codes, scale: one, shift: zero }, block)
  const ones = expand(sameCode(quint8, 1, codes.device).view([1, 1]), codes.shape)
  const scales = dequantizeBlocks(quint8, { codes: ones, scale }, block)
  return cast(mul(cast(differences, 'float32'), cast(scales, 'float32')), scale.dtype)
}

/** Zero points of the shape of the blocks. */
function zeroPointsOf(
  type: QType,
  offset: Exclude<Offset, NestedScale>,
  device: Device,
  blocks: Shape,
): Tensor {
  return 'values' in offset ? offset.values : expand(sameCode(type, offset.value, device), blocks)
}

/**
 * A code, [1], that a kernel makes: what is recorded to be run again and again holds no bytes of the host.
 */
function sameCode(type: QType, code: number, device: Device): Tensor {
  return encodeRows(Tensor.full(device, [1], code), { scale: Tensor.full(device, [], 1) }, type)
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
  if (block.kind === 'comb') {
    const [rows, cols] = [block.teeth, (N * K) / block.teeth]
    const spread = mapScales(parts, (values) => repeatRows(values.view([1, cols]), rows, rows))
    return dequantizeRows(qtype, { ...spread, codes: codes.view([rows, cols]) }, 1).view([N, K])
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
 * packing between, and on the quantizer's shorter way where it has one. Gradients pass straight through the
 * rounding.
 */
export const fakeQuantizeWeight = op(
  'fakeQuantizeWeight(weight, qtype, groupSize, quantizer, statistics, scales)',
  (
    weight: Tensor,
    qtype: QType,
    groupSize: number | null,
    quantizer: Quantizer,
    statistics: Statistics | null = null,
    scales: ScaleOptions = {},
  ): Tensor =>
    withoutGradient(() => {
      const matrix = weight.view(matrixShape(weight.shape))
      const spec = weightSpec({ ...scales, qtype, groupSize }, weight.shape)
      const floats =
        quantizer.round?.(matrix, spec, statistics) ??
        dequantizeParts(quantizer.solve(matrix, spec, statistics))
      return cast(floats, weight.dtype).view(weight.shape)
    }),
  ({ dy }) => [dy],
)
