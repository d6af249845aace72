import { type DType, type FloatDType, isFloatDType } from '../core/dtype.ts'
import { DTypeError, FormatError, ShapeError } from '../core/errors.ts'
import { type QType, qfloat8, qtypes } from '../core/qtype.ts'
import { numel, type Shape, sameShape, showShape } from '../core/shape.ts'
import { quantoGroupSize } from '../qtensor/groupSize.ts'
import { JsonObject, parseJson, pythonJson, show } from './json.ts'
import { type Folder, readBytes } from './source.ts'
import { type TensorFile, type TensorInfo, tensorInfo } from './tensorFile.ts'

/**
 * The names under which quantization maps are saved: by quanto's `save_pretrained`, and by hand as its README
 * shows.
 */
export const quantoMapNames = ['quanto_qmap.json', 'quantization_map.json'] as const

/** A map names modules by the thousand, not by the million. */
export const maxQuantoMapBytes = 10_000_000

/** What a module's weights and activations are quantized to; undefined where they stay float. */
export interface QuantoModule {
  readonly weights?: QType
  readonly activations?: QType
  /**
   * Whether outputs are quantized; absent means they are. quanto neither writes nor minds it: its own
   * streamlining is lost in a file.
   */
  readonly outputQuantized?: boolean
}

/** Quantized modules by name, such as `model.layers.0.mlp.up_proj`. */
export type QuantoMap = ReadonlyMap<string, QuantoModule>

/**
 * The quantization map of a folder; undefined if it holds none, and so was not saved by quanto.
 * @throws FormatError if the map is not one.
 */
export async function readQuantoMap(folder: Folder): Promise<QuantoMap | undefined> {
  for (const name of quantoMapNames) {
    if (await folder.has(name))
      return parseQuantoMap(await readBytes(folder, name, maxQuantoMapBytes), `${folder.name}/${name}`)
  }
  return undefined
}

/**
 * `{"lm_head": {"weights": "qint4", "activations": "none"}, …}`
 * @throws FormatError naming the module and what its entry says.
 */
export function parseQuantoMap(bytes: Uint8Array, name: string): QuantoMap {
  const modules = new JsonObject(
    parseJson(bytes, name, { uniqueKeys: true, maxBytes: maxQuantoMapBytes }),
    name,
  )
  return new Map(
    modules.keys().map((module) => {
      const entry = modules.object(module)
      const types = { weights: readQType(entry, 'weights'), activations: readQType(entry, 'activations') }
      return [module, { ...types, outputQuantized: entry.boolean('output_quantized', true) }]
    }),
  )
}

function readQType(entry: JsonObject, key: string): QType | undefined {
  const name = entry.string(key)
  if (name === 'none') return undefined
  const found = name === 'qfloat8' ? qfloat8 : qtypes.find((qtype) => qtype.name === name)
  if (found) return found
  throw entry.error(key, `must be none, qfloat8 or one of ${qtypes.map((qtype) => qtype.name).join(', ')}`)
}

/** The text of `quanto_qmap.json`, as quanto writes it. */
export function formatQuantoMap(map: QuantoMap): string {
  const entries = [...map].map(([module, { weights, activations, outputQuantized }]) => {
    const types = { weights: weights?.name ?? 'none', activations: activations?.name ?? 'none' }
    return [module, outputQuantized === false ? { ...types, output_quantized: false } : types] as const
  })
  return pythonJson(Object.fromEntries(entries), 4)
}

/**
 * Packs codes of 2 or 4 bits. The rows are dealt into 8/bits slices of R = ceil(rows·bits/8); a byte holds
 * one code of each, the first slice in its lowest bits; rows beyond the last are 0. Five rows of 4 bits make
 * R = 3:
 *
 *     byte row 0    row 3 · row 0        bits 7..4 · bits 3..0
 *     byte row 1    row 4 · row 1
 *     byte row 2      0   · row 2
 *
 * codes [rows, cols] uint8 → [R, cols] uint8
 * Source: optimum-quanto, tensor/packed.py, `pack_weights`.
 * @throws ShapeError if there are not rows·cols codes, FormatError if one does not fit its bits.
 */
export function packRows(codes: Uint8Array, rows: number, cols: number, bits: number): Uint8Array {
  checkBits('packRows', bits)
  if (codes.length !== rows * cols)
    throw new ShapeError(`packRows: codes must number ${rows} · ${cols}; received ${codes.length}`)
  const slice = Math.ceil((rows * bits) / 8) * cols
  const packed = new Uint8Array(slice)
  for (let i = 0; i < codes.length; i++) {
    if (codes[i] >> bits)
      throw new FormatError(`packRows: codes must fit in ${bits} bits; received ${codes[i]} at ${i}`)
    packed[i % slice] |= codes[i] << (bits * Math.floor(i / slice))
  }
  return packed
}

/**
 * The inverse of `packRows`: bytes [ceil(rows·bits/8), cols] uint8 → codes [rows, cols] uint8.
 * @throws ShapeError if the bytes are not that many.
 */
export function unpackRows(packed: Uint8Array, rows: number, cols: number, bits: number): Uint8Array {
  checkBits('unpackRows', bits)
  const slice = Math.ceil((rows * bits) / 8) * cols
  if (packed.length !== slice)
    throw new ShapeError(
      `unpackRows: ${rows} rows of ${cols} codes must take ${slice} bytes; received ${packed.length}`,
    )
  const mask = (1 << bits) - 1
  const codes = new Uint8Array(rows * cols)
  for (let i = 0; i < codes.length; i++)
    codes[i] = (packed[i % slice] >> (bits * Math.floor(i / slice))) & mask
  return codes
}

function checkBits(operation: string, bits: number): void {
  if (bits !== 2 && bits !== 4)
    throw new DTypeError(`${operation}: quanto packs codes of 2 or 4 bits; received ${bits}`)
}

/** A tensor that the scheme calls for. */
export interface QuantoTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
}

/** The tensors of one quantized module, by the part each plays. */
export interface QuantoTensors<T extends QuantoTensor = QuantoTensor> {
  readonly data: T
  readonly scale: T
  /** int2 and int4 only. */
  readonly shift?: T
  readonly inputScale?: T
  readonly outputScale?: T
  readonly bias?: T
}

/** What is not in the files: the module's type, the shape of its float weight, and whether it has a bias. */
export interface QuantoWeight {
  readonly qtype: QType
  /** [out, in], or a convolution's [out, in/groups, …]. */
  readonly shape: Shape
  readonly bias: boolean
  /** Whether the scales of activations are asked for; default true: quanto always saves them. */
  readonly activationScales?: boolean
  /**
   * Columns that share a scale, of a layer with a single output and 2 or 4 bits: the row, or 1; default: as
   * quanto gives them, see below.
   */
  readonly groupSize?: number | null
}

/**
 * The tensors that quanto saves for a frozen Linear or convolution, of a model whose floats are `dtype`:
 *
 *     X.weight._data        weight's shape, int8 or float8            8 bits
 *     X.weight._scale       [out,1,…] dtype; [] when out is 1
 *
 *     X.weight._data._data  packed rows of the weight [out,in], or of its groups [out·in/g, g], uint8       2 and 4 bits
 *     X.weight._scale       [out,1,…] or [out·in/g, 1] dtype; without groups, [1,…,last dimension] when out is 1
 *     X.weight._shift       the same
 *
 *     X.bias                [out] dtype
 *     X.input_scale         [] dtype
 *     X.output_scale        [] dtype
 *
 * With one output and no groups quanto takes the weight to be quantized along its last axis: each column has
 * a scale. It reads any shape that stretches to the weight's: one scale [1,1,…] for the row, too, or one for
 * every column of a convolution's.
 * Source: optimum-quanto, tensor/weights/quantization.py and tensor/qbits.py.
 */
export function quantoTensors(
  module: string,
  { qtype, shape, bias, activationScales = true, groupSize }: QuantoWeight,
  dtype: FloatDType,
): QuantoTensors {
  const out = shape[0]
  const columns = numel(shape.slice(1))
  const packed = qtype.bits < 8
  const group = quantoGroupSize(qtype, columns)
  const rows = group === null ? shape : [(out * columns) / group, group]
  const dataShape = packed ? [Math.ceil((rows[0] * qtype.bits) / 8), ...rows.slice(1)] : shape
  const float = (name: string, floatShape: Shape) => ({ name: `${module}.${name}`, dtype, shape: floatShape })
  const scaleShape = scaleShapeOf(rows, packed, groupSize ?? null)
  return {
    data: { name: `${module}.weight._data${packed ? '._data' : ''}`, dtype: qtype.dtype, shape: dataShape },
    scale: float('weight._scale', scaleShape),
    ...(packed && { shift: float('weight._shift', scaleShape) }),
    ...(activationScales && { inputScale: float('input_scale', []), outputScale: float('output_scale', []) }),
    ...(bias && { bias: float('bias', [out]) }),
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

/**
 * Finds those tensors in `file`; their float dtype is the one that `X.weight._scale` has.
 * @throws FormatError naming the tensor, what it must be and what it is.
 */
export function findQuantoTensors(
  file: TensorFile,
  module: string,
  weight: QuantoWeight,
): QuantoTensors<TensorInfo> {
  const scale = tensorInfo(file, `${module}.weight._scale`)
  if (!isFloatDType(scale.dtype)) {
    throw new FormatError(
      `${file.name}: tensor ${show(scale.name)} must be float32, float16 or bfloat16; it is ${scale.dtype}`,
      {
        tensor: scale.name,
        byteOffset: scale.byteOffset,
      },
    )
  }
  const expected = quantoTensors(module, { ...weight, groupSize: null }, scale.dtype)
  const find = (tensor: QuantoTensor) => findTensor(file, tensor)
  const oneRow =
    weight.shape[0] === 1 &&
    weight.qtype.bits < 8 &&
    quantoGroupSize(weight.qtype, numel(weight.shape)) === null
  const findScale = (tensor: QuantoTensor) =>
    oneRow ? findStretched(file, tensor, weight.shape) : find(tensor)
  return {
    data: find(expected.data),
    scale: findScale(expected.scale),
    ...(expected.shift && { shift: findScale(expected.shift) }),
    ...(expected.inputScale && { inputScale: find(expected.inputScale) }),
    ...(expected.outputScale && { outputScale: find(expected.outputScale) }),
    ...(expected.bias && { bias: find(expected.bias) }),
  }
}

/** One that may have any shape that stretches to the weight's, else the one expected. */
function findStretched(file: TensorFile, tensor: QuantoTensor, weight: Shape): TensorInfo {
  const { shape } = tensorInfo(file, tensor.name)
  return findTensor(file, stretches(shape, weight) ? { ...tensor, shape } : tensor)
}

function findTensor(file: TensorFile, { name, dtype, shape }: QuantoTensor): TensorInfo {
  const info = tensorInfo(file, name)
  if (info.dtype === dtype && sameShape(info.shape, shape)) return info
  const received = `${info.dtype} ${showShape(info.shape)}`
  throw new FormatError(
    `${file.name}: tensor ${show(name)} must be ${dtype} ${showShape(shape)}; it is ${received}`,
    {
      tensor: name,
      byteOffset: info.byteOffset,
    },
  )
}
