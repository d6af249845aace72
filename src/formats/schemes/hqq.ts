import type { FloatDType } from '../../core/dtype.ts'
import { dtypes, isDType, isFloatDType } from '../../core/dtype.ts'
import { FormatError } from '../../core/errors.ts'
import { type QType, unsignedType } from '../../core/qtype.ts'
import { numel, type Shape, sameShape, showShape } from '../../core/shape.ts'
import { splitRowsDown, unpackCodes } from '../../qtensor/packing.ts'
import { type Block, blocksShape, matrixShape, showBlock } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { keep, scope } from '../../tensor/scope.ts'
import type { TensorFile, TensorInfo } from '../tensorFile.ts'
import { checkCodes } from './checkCodes.ts'
import { hqqBits, hqqWriter } from './hqqWriter.ts'
import type { Part, PartReader, QuantizedFile, QuantizedWeight, Scheme } from './scheme.ts'

/**
 * HQQ's layers, as `HQQLinear.state_dict` gives them to safetensors: unsigned codes and float zero points,
 *
 *     w = scale · (q − zero)             in the dtype of the scales, the difference and the product each rounded
 *
 * of the weight [out, in] as groups. With axis 1 a group is a row of its view [groups, group_size]:
 * consecutive values, which cross rows where in is no multiple; with axis 0 a column of its view [group_size,
 * groups].
 *
 *     W_q      the view's rows, packed: ⌈rows / n⌉ · cols words of n codes, n = 8 / bits in a byte (one of 5, 6 and 8
 *              bits), 10 of 3 bits in an int32; the first stretch of rows in the highest bits. Or the same bytes as
 *              values of a larger dtype (view_as_float)
 *     scale    [groups, 1] or [1, groups], and zero
 *     nbits, group_size, axis, shape, …   numbers; texts as bytes
 *
 * Source: hqq 0.2.8, core/quantize.py and core/bitpack.py.
 */
export const hqq: Scheme = {
  name: 'hqq',
  detect: (config, file) => (config?.get('quant_method') === 'hqq' ? openHqq(file) : null),
  writer: hqqWriter,
  trace: (file) => [...file.tensors.keys()].find((name) => name.endsWith('.W_q')),
}

/** What a layer's numbers say. */
interface State {
  readonly type: QType
  readonly groupSize: number
  readonly axis: number
  readonly shape: Shape
}

/** The numbers of a layer: those that are read, and what each is to be. */
const numbers = ['nbits', 'group_size', 'axis'] as const
const flags = ['quant_scale', 'quant_zero'] as const
/** What says how the weight was quantized, or is kept, and not what it is. */
const unused =
  /\.(channel_wise|compute_dtype|encoded_state_dict|offload_meta|optimize|packing|round_zero|stores_quant_config|unpack_view_dtype|view_as_float)$/

async function openHqq(file: TensorFile): Promise<QuantizedFile> {
  const states = new Map<string, State>()
  for (const key of file.tensors.keys()) {
    if (!key.endsWith('.W_q')) continue
    const path = key.slice(0, -'.W_q'.length)
    states.set(path, await readState(file, path))
  }
  return {
    isUnused: (name) => unused.test(name),
    layer(path, shape) {
      const state = states.get(path)
      if (!state) return null
      if (!sameShape(state.shape, shape))
        throw wrong(
          file,
          `${path}.shape`,
          `must be ${showShape(shape)}, as the model's`,
          showShape(state.shape),
        )
      return { weight: storedWeight(file, path, state), activations: null }
    },
  }
}

function wrong(file: TensorFile, key: string, rule: string, received: unknown): FormatError {
  const name = file.tensors.get(key)?.name ?? key
  return new FormatError(`${file.name}: ${name} ${rule}; it is ${received}`, { tensor: name })
}

async function readState(file: TensorFile, path: string): Promise<State> {
  const [bits, groupSize, axis] = await Promise.all(
    numbers.map((name) => readNumber(file, `${path}.${name}`, 'int32')),
  )
  const [quantScale, quantZero] = await Promise.all(
    flags.map((name) => readNumber(file, `${path}.${name}`, 'uint8')),
  )
  const shape = await readShape(file, `${path}.shape`)
  if (!hqqBits.includes(bits)) throw wrong(file, `${path}.nbits`, 'must be 1 to 6, or 8', bits)
  if (axis !== 0 && axis !== 1) throw wrong(file, `${path}.axis`, 'must be 0 or 1', axis)
  if (!(groupSize > 0) || numel(shape) % groupSize !== 0)
    throw wrong(
      file,
      `${path}.group_size`,
      `must divide the ${numel(shape)} weights of ${showShape(shape)}`,
      groupSize,
    )
  if (quantScale || quantZero) {
    const name = quantScale ? 'quant_scale' : 'quant_zero'
    throw wrong(file, `${path}.${name}`, 'must be 0: lowbit reads scales and zero points that are floats', 1)
  }
  return { type: unsignedType(bits), groupSize, axis, shape }
}

/** The bytes of a small tensor of a dtype and shape. @throws FormatError if it is not there, or is another */
async function readSmall(
  file: TensorFile,
  key: string,
  dtype: TensorInfo['dtype'],
  shape: Shape,
): Promise<DataView> {
  const info = file.tensors.get(key)
  if (info?.dtype !== dtype || !sameShape(info.shape, shape))
    throw wrong(
      file,
      key,
      `must be ${dtype} ${showShape(shape)}`,
      info ? `${info.dtype} ${showShape(info.shape)}` : 'missing',
    )
  const bytes = await file.read(key)
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

async function readNumber(file: TensorFile, key: string, dtype: 'int32' | 'uint8'): Promise<number> {
  const view = await readSmall(file, key, dtype, [])
  return dtype === 'int32' ? view.getInt32(0, true) : view.getUint8(0)
}

async function readShape(file: TensorFile, key: string): Promise<Shape> {
  const view = await readSmall(file, key, 'int64', [2])
  const shape = [Number(view.getBigInt64(0, true)), Number(view.getBigInt64(8, true))]
  if (shape.every((size) => Number.isSafeInteger(size) && size > 0)) return shape
  throw wrong(file, key, 'must be sizes from 1 up', showShape(shape))
}

/** The view of the weight whose rows are packed. */
function viewOf({ groupSize, axis, shape }: State): [rows: number, cols: number] {
  const groups = numel(shape) / groupSize
  return axis === 1 ? [groups, groupSize] : [groupSize, groups]
}

function storedWeight(file: TensorFile, path: string, state: State): QuantizedWeight {
  const { type, groupSize, axis, shape } = state
  const groups = numel(shape) / groupSize
  const block = blockOf(state)
  const stored = file.tensors.get(`${path}.scale`)?.dtype ?? 'float16'
  const floats: readonly FloatDType[] = isFloatDType(stored) ? [stored] : ['float32', 'float16', 'bfloat16']
  const scale: Part = { name: 'scale', dtypes: floats, shape: axis === 1 ? [groups, 1] : [1, groups] }
  return {
    facts: { qtype: type, shape, block, offset: 'zero' },
    dtype: floats[0],
    kind: `${type.name}, zeros, ${showBlock(block, shape)}`,
    parts: [
      codesPart(file, path, state),
      scale,
      { ...scale, name: 'zero' },
      ...numbers.map((name): Part => ({ name, dtypes: ['int32'], shape: [] })),
      ...flags.map((name): Part => ({ name, dtypes: ['uint8'], shape: [] })),
      { name: 'shape', dtypes: ['int64'], shape: [2] },
    ],
    read: (parts) => readWeight(parts, state, block),
  }
}

function blockOf({ groupSize, axis, shape }: State): Block {
  if (axis === 0) return { kind: 'comb', teeth: groupSize }
  return { kind: matrixShape(shape)[1] % groupSize === 0 ? 'group' : 'run', size: groupSize }
}

/** Codes as words, or as values of the floats that those bytes make. */
function codesPart(file: TensorFile, path: string, state: State): Part {
  const { bits } = state.type
  const [rows, cols] = viewOf(state)
  const word = bits === 3 ? 'int32' : 'uint8'
  const packed = [splitRowsDown(rows * cols, cols, bits).lines / cols, cols]
  const stored = file.tensors.get(`${path}.W_q`)?.dtype ?? word
  if (!isDType(stored) || !isFloatDType(stored)) return { name: 'W_q', dtypes: [word], shape: packed }
  const bytes = cols * dtypes[word].bytes
  return { name: 'W_q', dtypes: [stored], shape: [packed[0], bytes / dtypes[stored].bytes] }
}

async function readWeight(
  parts: PartReader,
  { type, shape, ...state }: State,
  block: Block,
): Promise<QTensor> {
  const [rows, cols] = viewOf({ type, shape, ...state })
  const packed = await parts.rows('W_q', 0, parts.info('W_q').shape[0])
  // Codes of 5 and 6 bits have a byte each.
  if (type.bits === 5 || type.bits === 6) await checkCodes(parts, 'W_q', packed, [0, type.qmax])
  const [scale, zero] = [await parts.tensor('scale'), await parts.tensor('zero')]
  return scope(() => {
    const blocks = blocksShape(block, shape)
    return keep(
      QTensor.fromParts({
        ...{ type, shape, dtype: scale.dtype as FloatDType, block },
        codes: unpackCodes(packed, splitRowsDown(rows * cols, cols, type.bits)).view(matrixShape(shape)),
        scale: { values: scale.view(blocks) },
        offset: { kind: 'zero', values: zero.view(blocks) },
      }),
    )
  })
}
