import { type DType, type FloatDType, isFloatDType } from '../../core/dtype.ts'
import { several } from '../../core/lists.ts'
import { type QType, qint4, qint8 } from '../../core/qtype.ts'
import { numel, type Shape } from '../../core/shape.ts'
import { defaultGroupSize } from '../../qtensor/groupSize.ts'
import { packCodes, splitRows, unpackCodes } from '../../qtensor/packing.ts'
import { type Block, groupSizeOf, matrixShape, showBlock } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { decodeRows } from '../../qtensor/rows.ts'
import { cast, expand } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { JsonObject } from '../json.ts'
import type { TensorFile } from '../tensorFile.ts'
import { formatQuantoMap, quantoMapOf, quantoTypes, readQuantoMap } from './quantoMap.ts'
import type {
  LayerToWrite,
  Part,
  PartReader,
  PartToWrite,
  QuantizedFile,
  QuantizedWeight,
  Scheme,
  WeightKind,
} from './scheme.ts'
import { keepsValues } from './weightKind.ts'
import { unloadable, weightPart } from './writing.ts'

/** The names under which quanto's `save_pretrained`, and its README by hand, save the quantization map. */
const mapNames = ['quanto_qmap.json', 'quantization_map.json'] as const

/** The classes of layers that optimum-quanto has. */
const layerTypes: readonly string[] = ['QLinear', 'QConv2d', 'QLayerNorm']

/**
 * optimum-quanto's folders: a map of quantized modules, and for each of them codes, scales, and below 8 bits
 * float shifts, w = scale · q − shift. Source: optimum-quanto 0.2.7.
 */
export const quanto: Scheme = {
  name: 'quanto',
  settingsFiles: mapNames,
  detect: (map, file, own) => (map && own ? openQuanto(map, file) : null),
  trace: (file) => [...file.tensors.keys()].find((name) => name.endsWith('.weight._scale')),
  writer: {
    types: quantoTypes,
    layers: ['Linear', 'Conv2d', 'LayerNorm'],
    activations: quantoTypes.filter(({ bits }) => bits === 8),
    targets: {
      quanto: { weights: qint8 },
      'quanto-int4': { weights: qint4, holds: ({ qtype }) => qtype === qint4 },
    },
    refuses: refusal,
    fits: misfit,
    parts: partsOf,
    // `requantize` ties no codes, and would leave the other layers without values.
    repeats: ({ typeName }) => layerTypes.includes(typeName),
    settings: (layers) => ({ files: new Map([[mapNames[0], formatQuantoMap(quantoMapOf(layers))]]) }),
    limits: limitsOf,
  },
}

function openQuanto(config: JsonObject, file: TensorFile): QuantizedFile {
  const map = readQuantoMap(config)
  return {
    paths: [...map].flatMap(([path, { weights, activations }]) => (weights || activations ? [path] : [])),
    layer(path, shape) {
      const { weights, activations = null, outputQuantized } = map.get(path) ?? {}
      if (!weights && !activations) return null
      const weight = weights ? storedWeight(file, path, weights, shape) : null
      return { weight, activations, outputQuantized }
    },
  }
}

/** One tensor that quanto saves. */
interface QuantoTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
}

/** The tensors of one weight by the part each plays. */
export interface QuantoTensors {
  readonly data: QuantoTensor
  readonly scale: QuantoTensor
  /** int2 and int4 only. */
  readonly shift?: QuantoTensor
}

/**
 * The tensors that quanto saves for the frozen weight of a Linear or convolution, of a model whose floats are
 * `dtype`, below the module's name:
 *
 *     weight._data        weight's shape, int8 or float8            8 bits
 *     weight._scale       [out,1,…] dtype; [] when out is 1
 *
 *     weight._data._data  packed rows of the weight [out,in], or of its groups [out·in/g, g], uint8       2 and 4 bits
 *     weight._scale       [out,1,…] or [out·in/g, 1] dtype; without groups, [1,…,last dimension] when out is 1
 *     weight._shift       the same
 *
 * and for every quantized module, besides its float bias, `input_scale` and `output_scale`, [] dtype.
 *
 * With one output and no groups quanto takes the weight to be quantized along its last axis: each column has
 * a scale. It reads any shape that stretches to the weight's: one scale [1,1,…] for the row, too, or one for
 * every column of a convolution's.
 * Source: optimum-quanto, tensor/weights/quantization.py and tensor/qbits.py.
 * @param shape [out, in], or a convolution's [out, in/groups, …]
 * @param groupSize columns that share a scale, of a layer with a single output and 2 or 4 bits: the row, or
 * 1; null: as quanto gives them
 */
export function quantoTensors(
  qtype: QType,
  shape: Shape,
  dtype: FloatDType,
  groupSize: number | null = null,
): QuantoTensors {
  const [out, columns] = matrixShape(shape)
  const packed = qtype.bits < 8
  const group = defaultGroupSize(qtype, columns)
  const rows = group === null ? shape : [(out * columns) / group, group]
  const dataShape = packed ? [Math.ceil((rows[0] * qtype.bits) / 8), ...rows.slice(1)] : shape
  const scaleShape = scaleShapeOf(rows, packed, groupSize)
  return {
    data: { name: `weight._data${packed ? '._data' : ''}`, dtype: qtype.dtype, shape: dataShape },
    scale: { name: 'weight._scale', dtype, shape: scaleShape },
    ...(packed && { shift: { name: 'weight._shift', dtype, shape: scaleShape } }),
  }
}

function scaleShapeOf(rows: Shape, packed: boolean, groupSize: number | null): Shape {
  if (rows[0] > 1) return rows.map((size, axis) => (axis === 0 ? size : 1))
  if (!packed) return []
  if (groupSize === 1) return rows
  return rows.map((size, axis) => (groupSize === null && axis === rows.length - 1 ? size : 1))
}

/** Whether a shape stretches to another: sizes are the same, or 1. */
function stretches(from: Shape, to: Shape): boolean {
  return from.length === to.length && from.every((size, axis) => size === to[axis] || size === 1)
}

/** The weight of the module at `path`; all its floats have the dtype of the scale that the file holds. */
function storedWeight(file: TensorFile, path: string, type: QType, shape: Shape): QuantizedWeight {
  const groupSize = defaultGroupSize(type, matrixShape(shape)[1])
  const stored = file.tensors.get(`${path}.weight._scale`)?.dtype
  const dtype = stored !== undefined && isFloatDType(stored) ? stored : null
  const { data, scale, shift } = quantoTensors(type, shape, dtype ?? 'float32')
  const oneRow = shape[0] === 1 && shift !== undefined && groupSize === null
  const float = ({ name, shape: expected }: QuantoTensor): Part => {
    const found = file.tensors.get(`${path}.${name}`)?.shape
    const fits = oneRow && found && stretches(found, shape)
    return {
      name,
      dtypes: dtype ? [dtype] : ['float32', 'float16', 'bfloat16'],
      shape: fits ? found : expected,
    }
  }
  const [N, K] = matrixShape(shape)
  const G = groupSize ?? K
  const floats = [float(scale), ...(shift ? [float(shift)] : [])]
  const columns = floats.some((part) => numel(part.shape) > (N * K) / G)
  const block = { kind: 'group', size: columns ? 1 : G } as const
  return {
    facts: { qtype: type, shape, block, offset: shift ? 'shift' : null },
    dtype: dtype ?? 'float32',
    kind: groupSize === null ? type.name : `${type.name}, groups of ${groupSize}`,
    parts: [{ ...data, dtypes: [data.dtype] }, ...floats],
    read: (parts) => readWeight(parts, type, shape, block, { data, scale, shift }),
  }
}

/** One scale for each group or row, or for each column where the file has them so. */
async function readWeight(
  parts: PartReader,
  type: QType,
  shape: Shape,
  block: Block & { kind: 'group' },
  { data, scale, shift }: QuantoTensors,
): Promise<QTensor> {
  const [N, K] = matrixShape(shape)
  const G = defaultGroupSize(type, K) ?? K
  const [packed, scales, shifts] = await Promise.all([
    // quanto itself writes NaN for a row of zeros.
    parts.codes(data.name, { mayBeNaN: true }),
    parts.tensor(scale.name),
    shift ? parts.tensor(shift.name) : null,
  ])
  return scope(() => {
    const codes = type.bits === 8 || !packed ? packed : unpackCodes(packed, splitRows(N * K, G, type.bits))
    const perGroup = (values: Tensor) =>
      (block.size === 1 ? expand(values, shape) : values).view([N, K / block.size])
    return keep(
      QTensor.fromParts({
        type,
        shape,
        dtype: scales.dtype as FloatDType,
        codes: codes?.view([N, K]) ?? null,
        block,
        scale: { values: perGroup(scales) },
        offset: shifts && { kind: 'shift', values: perGroup(shifts) },
      }),
    )
  })
}

/** Codes, scales and the two activation scales of a layer; of one that is not frozen only the latter. */
function partsOf(layer: LayerToWrite): PartToWrite[] {
  const { weight, dtype } = layer
  const scale = (name: string, of: 'inputScale' | 'outputScale'): PartToWrite => ({
    name,
    dtype,
    shape: [],
    of: 'layer',
    // 1 stands for a scale that was never calibrated.
    make: (values) => cast(values[of] ?? Tensor.fromNumbers(values.device, [1], []), dtype),
  })
  const scales = [scale('input_scale', 'inputScale'), scale('output_scale', 'outputScale')]
  if (!weight) return scales
  const tensors = quantoTensors(weight.qtype, weight.shape, dtype, groupSizeOf(weight.block))
  const part = ({ name, dtype: stored, shape }: QuantoTensor, make: (weight: QTensor) => Tensor) =>
    weightPart(name, stored, shape, make)
  return [
    ...scales,
    part(tensors.data, dataOf),
    part(tensors.scale, (values) => values.scale()),
    ...(tensors.shift ? [part(tensors.shift, (values) => values.shift() as Tensor)] : []),
  ]
}

function dataOf(weight: QTensor): Tensor {
  const { qtype, shape, facts } = weight
  const codes = weight.codes()
  if (qtype.bits === 8) return codes
  const [N, K] = matrixShape(shape)
  // Columns that each have a scale are packed as one row.
  const G = groupSizeOf(facts.block) === 1 ? K : groupSizeOf(facts.block)
  return packCodes(codes, splitRows(N * K, G, qtype.bits))
}

/** quanto does not store group sizes but derives them. */
function refusal({ qtype, shape, block, offset, reordered }: WeightKind): string | null {
  if (!quantoTypes.includes(qtype))
    return `it is ${qtype.name}, and quanto takes ${quantoTypes.map(({ name }) => name).join(', ')}`
  const [N, K] = matrixShape(shape)
  const expected = defaultGroupSize(qtype, K) ?? K
  // Of a single output each column has a scale where quanto quantized it, the row where lowbit did; quanto
  // reads both.
  const columns = N === 1 && qtype.bits < 8 && expected === K
  const sizes = columns ? [expected, 1] : [expected]
  if (block.kind !== 'group' || !sizes.includes(block.size))
    return `it has ${showBlock(block, shape)}, and quanto takes ${qtype.name} of ${K} columns in groups of ${expected}`
  if (reordered) return 'its columns are reordered, and quanto takes them in order'
  if (offset === 'zero') return 'it has float zero points, and quanto has shifts'
  if (offset && !qtype.unsigned) return `it has zero points, and quanto has none for ${qtype.name}`
  if (!offset && qtype.unsigned)
    return `it has neither shifts nor zero points, and quanto's ${qtype.name} has shifts`
  return null
}

/** The scales and shifts that quanto stores have the dtype of the weight; zero points become shifts. */
async function misfit(weight: QTensor): Promise<string | null> {
  const { dtype, heldScale, heldOffset, hasZeroPoints } = weight
  const keeps = async (make: () => Tensor, as: DType) => {
    const values = scope(() => keep(make()))
    return keepsValues(values, as).finally(() => values.dispose())
  }
  const held = 'tensor' in heldScale ? (heldScale.dtype as FloatDType) : 'float32'
  if (!(await keeps(() => weight.scale(held), dtype)))
    return `its scales are ${held}, and some would be rounded to ${dtype}`
  if (heldOffset?.kind === 'shift' && !(await keeps(() => weight.shift('float32') as Tensor, dtype)))
    return `it has shifts of which some would be rounded to ${dtype}`
  if (!hasZeroPoints) return null
  // A half times a zero point is exact in float32.
  const halves =
    (await keeps(() => weight.scale(), 'float16')) || (await keeps(() => weight.scale(), 'bfloat16'))
  const exact = halves && (await keeps(() => productOf(weight), dtype))
  return exact ? null : `it has zero points, and as shifts, scale · z, some would be rounded to ${dtype}`
}

/** scale · z, float32. */
function productOf(weight: QTensor): Tensor {
  const [zeroPoint, scale] = [weight.zeroPoint() as Tensor, weight.scale('float32')]
  const count = scale.numel
  const parts = { scale: scale.view([count]) }
  return decodeRows(zeroPoint.view([count, 1]), parts, weight.qtype)
}

/** What of a model Python's quanto cannot load, or not as it is. */
function limitsOf(layers: ReadonlyMap<string, LayerToWrite>): string[] {
  const unknown = unloadable("Python's optimum-quanto", layers, ({ typeName }) =>
    layerTypes.includes(typeName),
  )
  const shifted = [...layers.values()].filter(({ weight }) => weight?.offset === 'zeroPoint')
  if (shifted.length === 0) return unknown
  const listed = several(shifted.map(({ path }) => path))
  return [
    ...unknown,
    `save: quanto's format stores zero points as shifts (scale · z); ${listed} will have shifts when loaded again`,
  ]
}
