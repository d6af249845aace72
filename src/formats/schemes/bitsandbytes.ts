import { dtypes, isDType } from '../../core/dtype.ts'
import { FormatError } from '../../core/errors.ts'
import { numel, type Shape, sameShape, showShape } from '../../core/shape.ts'
import { highFirst, unpackCodes } from '../../qtensor/packing.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { keep, scope } from '../../tensor/scope.ts'
import type { JsonObject } from '../json.ts'
import { type TensorFile, tensorInfo } from '../tensorFile.ts'
import { int8Layer, readThreshold } from './bitsandbytesInt8.ts'
import {
  blockTypes,
  maxStateBytes,
  parseQuantState,
  type QuantState,
  stateName,
} from './bitsandbytesState.ts'
import { bitsandbytesWriter } from './bitsandbytesWriter.ts'
import type { Part, PartReader, QuantizedLayer, QuantizedWeight, Scheme } from './scheme.ts'

/**
 * bitsandbytes' weights of 8 bits (bitsandbytesInt8.ts), and those of 4 bits, NF4 and FP4: codes in blocks of
 * the flattened weight [out, in], each with its largest magnitude; GPT-2's layers are turned to [out, in],
 * too.
 *
 *     X.weight                  [⌈n / 2⌉, 1] bytes of two codes, the first in the high bits; or the same
 *                               bytes as values of a larger dtype
 *     X.weight.absmax           [blocks] float32; uint8 where they are quantized once more
 *     X.weight.quant_map        [16] float32, the value of each code
 *     X.weight.nested_absmax    [⌈blocks / 256⌉] float32, and X.weight.nested_quant_map [256] float32
 *     X.weight.quant_state.…    JSON: block sizes, the float weight's shape and dtype, the offset of scales
 *
 * Source: bitsandbytes 0.50, functional.py, `QuantState`; transformers 5, integrations/bitsandbytes.py.
 */
export const bitsandbytes: Scheme = {
  name: 'bitsandbytes',
  async detect(config, file) {
    const isOurs = config?.get('quant_method') === 'bitsandbytes'
    if (config && isOurs && isInt8(config)) {
      const threshold = readThreshold(config)
      return { layer: (path, shape) => int8Layer(file, path, shape, threshold) }
    }
    const states = !config || isOurs ? await readStates(file) : new Map<string, QuantState>()
    if (!isOurs && states.size === 0) return null
    return { layer: (path, shape) => storedLayer(file, path, shape, states.get(path)) }
  },
  writer: bitsandbytesWriter,
}

/** @throws FormatError if weights are to be of 4 and of 8 bits */
function isInt8(config: JsonObject): boolean {
  const says = (name: string) => config.boolean(name, false) || config.boolean(`_${name}`, false)
  if (!says('load_in_8bit')) return false
  if (says('load_in_4bit')) throw config.error('load_in_8bit', 'must be false where load_in_4bit is true')
  return true
}

/** The states of all quantized weights, by the paths of their layers. */
async function readStates(file: TensorFile): Promise<Map<string, QuantState>> {
  const states = new Map<string, QuantState>()
  for (const [key, { name, dtype, byteLength }] of file.tensors) {
    const type = blockTypes.find((one) => key.endsWith(`.${stateName(one)}`))
    if (!type) continue
    if (dtype !== 'uint8' || byteLength > maxStateBytes) {
      const problem = `must be the bytes of a JSON object, at most ${maxStateBytes}; it is ${dtype}`
      throw new FormatError(`${file.name}: ${name} ${problem}, ${byteLength} bytes`, { tensor: name })
    }
    const path = key.slice(0, -stateName(type).length - 1)
    states.set(path, parseQuantState(await file.read(key), type, `${file.name}: ${name}`))
  }
  return states
}

function storedLayer(
  file: TensorFile,
  path: string,
  shape: Shape,
  state: QuantState | undefined,
): QuantizedLayer | null {
  if (!state) {
    // Codes without a state are told to lack it.
    if (!file.tensors.has(`${path}.weight.absmax`) && !file.tensors.has(`${path}.weight.quant_map`))
      return null
    const lacking = { type: blockTypes[0], blockSize: 64, dtype: 'float32', shape, nested: null } as const
    return { weight: storedWeight(file, path, lacking), activations: null }
  }
  if (!sameShape(shape, state.shape)) {
    const { name } = tensorInfo(file, `${path}.${stateName(state.type)}`)
    const says = `it says ${showShape(state.shape)}`
    const problem = `must be of a weight ${showShape(shape)}, as the model's; ${says}`
    throw new FormatError(`${file.name}: ${name} ${problem}`, { tensor: name })
  }
  return { weight: storedWeight(file, path, state), activations: null }
}

function storedWeight(file: TensorFile, path: string, state: QuantState): QuantizedWeight {
  const { type, shape, dtype, blockSize, nested } = state
  const blocks = Math.ceil(numel(shape) / blockSize)
  const scales: Part[] = nested
    ? [
        { name: 'weight.absmax', dtypes: ['uint8'], shape: [blocks] },
        { name: 'weight.nested_absmax', dtypes: ['float32'], shape: [Math.ceil(blocks / nested.blockSize)] },
        { name: 'weight.nested_quant_map', dtypes: ['float32'], shape: [256] },
      ]
    : [{ name: 'weight.absmax', dtypes: ['float32'], shape: [blocks] }]
  const text = file.tensors.get(`${path}.${stateName(type)}`)
  return {
    facts: { qtype: type, shape, block: { kind: 'run', size: blockSize }, offset: null },
    dtype,
    kind: `${type.name}, blocks of ${blockSize}${nested ? ', scales quantized' : ''}`,
    parts: [
      packedPart(file, path, shape),
      ...scales,
      { name: 'weight.quant_map', dtypes: ['float32'], shape: [16] },
      { name: stateName(type), dtypes: ['uint8'], shape: text?.shape ?? [] },
    ],
    read: (parts) => readWeight(parts, state),
  }
}

/**
 * Codes are stored as bytes, or as values of another dtype that those bytes make
 * (`bnb_4bit_quant_storage`).
 */
function packedPart(file: TensorFile, path: string, shape: Shape): Part {
  const stored = file.tensors.get(`${path}.weight`)?.dtype ?? 'uint8'
  const size = isDType(stored) ? dtypes[stored].bytes : stored === 'F64' ? 8 : 1
  const bytes = Math.ceil(numel(shape) / 2)
  const others = ['uint8', 'int8', 'float16', 'bfloat16', 'float32', 'F64'] as const
  const found = others.find((dtype) => dtype === stored && bytes % size === 0)
  return { name: 'weight', dtypes: [found ?? 'uint8'], shape: [found ? bytes / size : bytes, 1] }
}

/** Brings the parts onto the device, which takes the codes out of their bytes. */
async function readWeight(parts: PartReader, state: QuantState): Promise<QTensor> {
  const { type, shape, dtype, blockSize, nested } = state
  await checkMap(parts, state)
  const packed = await parts.rows('weight', 0, parts.info('weight').shape[0])
  const absmax = await parts.tensor('weight.absmax')
  const scale = nested
    ? {
        codes: absmax,
        codebook: await parts.tensor('weight.nested_quant_map'),
        values: await parts.tensor('weight.nested_absmax'),
        ...nested,
      }
    : { values: absmax }
  return scope(() => {
    const codes = unpackCodes(packed, highFirst(numel(shape))).view(matrixShape(shape))
    const block = { kind: 'run', size: blockSize } as const
    return keep(QTensor.fromParts({ type, shape, dtype, codes, block, scale }))
  })
}

/** The values that the file gives codes must be those that the type has. */
async function checkMap(parts: PartReader, { type }: QuantState): Promise<void> {
  const map = await parts.tensor('weight.quant_map')
  const values = await map.read()
  const { codebook = [] } = type
  const wrong = codebook.findIndex((value, code) => Math.fround(value) !== values[code])
  if (wrong < 0) return
  const wanted = `${codebook[wrong]} for code ${wrong}`
  const problem = `must hold the values of ${type.name}, ${wanted}; it has ${values[wrong]}`
  throw parts.error('weight.quant_map', problem, 4 * wrong)
}
