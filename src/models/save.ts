import { saveFolder } from '#files'
import { dtypes, type FloatDType, isFloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { numel } from '../core/shape.ts'
import { pythonJson } from '../formats/json.ts'
import { formatQuantoMap, packRows, type QuantoMap, type QuantoModule, quantoTensors } from '../formats/quanto.ts'
import { writeCheckpoint } from '../formats/safetensorsWriter.ts'
import { type FolderSink, writeText } from '../formats/source.ts'
import type { TensorToWrite } from '../formats/tensorFile.ts'
import type { Module } from '../nn/module.ts'
import { activationScales, QModule } from '../nn/qmodule.ts'
import { quantoGroupSize } from '../qtensor/groupSize.ts'
import { matrixShape, QTensor } from '../qtensor/qtensor.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { CausalLM } from './causalLM.ts'
import { checkFinite } from './loadTensor.ts'

export interface SaveOptions {
  /** Replaces a folder that exists; it stays whole until the new one is. */
  overwrite?: boolean
  signal?: AbortSignal
  /** Bytes of a file before the weights go on in another; default 5 GB. */
  maxShardBytes?: number
  /** Is told, before anything is written, what Python's quanto cannot load of the model; default: `console.warn`. */
  onWarning?: (message: string) => void
  /** Called with the bytes written so far, and all. */
  onProgress?: (bytes: number, totalBytes: number) => void
}

/**
 * Saves a model, a language model in Hugging Face layout, its quantized modules as quanto saves them: Python's
 * `QuantizedModelForCausalLM.from_pretrained` reads the folder. It appears whole or not at all.
 * @param target a path, or a folder to write into
 * @returns bytes written
 * @throws FormatError if the target cannot be written, quanto's format cannot hold the model, or a tensor holds NaN or infinity
 */
export async function save(model: Module, target: string | FolderSink, options: SaveOptions = {}): Promise<number> {
  const tensors = [...namedTensors(model)]
  const warn = options.onWarning ?? ((message) => console.warn(`lowbit: ${message}`))
  for (const message of beyondQuanto(model)) warn(message)
  const write = (folder: FolderSink) => writeModel(model, folder, tensors, options)
  return typeof target === 'string' ? saveFolder(target, write, options) : write(target)
}

/** The twins that optimum-quanto has. */
const quantoTwins = ['QLinear', 'QConv2d', 'QLayerNorm']

/** What of a model Python's quanto cannot load, or not as it is: a sentence each. */
function* beyondQuanto(model: Module): Generator<string> {
  const modules = [...model.namedModules()].filter((entry): entry is [string, QModule] => entry[1] instanceof QModule)
  const unknown = modules.filter(([, { typeName }]) => !quantoTwins.includes(typeName))
  if (unknown.length > 0) {
    const listed = several(unknown.map(([path, { typeName }]) => `${path} (${typeName})`))
    yield `save: Python's optimum-quanto cannot load ${listed}; lowbit can`
  }
  const shifted = modules.filter(([, { weight }]) => weight instanceof QTensor && weight.integerShift)
  if (shifted.length > 0)
    yield `save: quanto's format has no zero points z, only shifts, scale · z; so have ${several(shifted.map(([path]) => path))}, once loaded`
}

function several(items: readonly string[]): string {
  return items.slice(0, 4).join(', ') + (items.length > 4 ? ` and ${items.length - 4} more` : '')
}

async function writeModel(model: Module, folder: FolderSink, tensors: TensorToWrite[], options: SaveOptions): Promise<number> {
  const total = tensors.reduce((sum, tensor) => sum + numel(tensor.shape) * dtypes[tensor.dtype].bytes, 0)
  let written = 0
  let bytes = 0
  const counting: FolderSink = {
    async create(file) {
      const sink = await folder.create(file)
      return {
        async write(chunk) {
          bytes += chunk.byteLength
          await sink.write(chunk)
        },
        close: () => sink.close(),
      }
    },
  }
  const reported = tensors.map((tensor) => ({
    ...tensor,
    async bytes() {
      options.signal?.throwIfAborted()
      const content = await tensor.bytes()
      if (isFloatDType(tensor.dtype)) checkFinite('save', { ...tensor, byteOffset: 0 }, content)
      written += content.byteLength
      options.onProgress?.(written, total)
      return content
    },
  }))
  await writeCheckpoint(counting, reported, { maxShardBytes: options.maxShardBytes })
  if (model instanceof CausalLM) {
    await writeText(counting, 'config.json', pythonJson(savedConfig(model), 2))
    for (const [name, text] of model.checkpoint?.files ?? []) await writeText(counting, name, typeof text === 'string' ? text : text())
  }
  const map = quantoMap(model)
  if (map.size > 0) await writeText(counting, 'quanto_qmap.json', formatQuantoMap(map))
  return bytes
}

/** config.json as it was loaded, with what changed since: whether head and embedding are one tensor, and the dtype of the float weights. */
function savedConfig(model: CausalLM): Record<string, unknown> {
  const config = { ...(model.checkpoint?.config ?? {}) }
  const tied = model.lm_head.weight === model.tokenEmbedding.weight
  config.tie_word_embeddings = tied
  const key = 'dtype' in config ? 'dtype' : 'torch_dtype'
  config[key] = model.tokenEmbedding.weight.dtype
  return config
}

/** Every tensor of the folder; a tied one once, under its first name. */
export function* namedTensors(model: Module): Generator<TensorToWrite> {
  const seen = new Set<unknown>()
  for (const [path, module] of model.namedModules()) {
    if (module instanceof QModule) {
      if (seen.has(module.weight)) throw tied(path)
      if (module.weight instanceof QTensor) seen.add(module.weight)
      yield* quantizedTensors(path, module)
    }
    const scales: readonly string[] = module instanceof QModule ? activationScales : []
    for (const [name, parameter] of module.ownTensors()) {
      if (parameter instanceof QTensor || scales.includes(name) || seen.has(parameter)) continue
      seen.add(parameter)
      yield {
        name: path === '' ? name : `${path}.${name}`,
        dtype: parameter.dtype,
        shape: parameter.shape,
        bytes: () => parameter.readBytes(),
      }
    }
  }
}

/** Codes, scales and the two activation scales of a module; of one that is not frozen only the latter. */
function* quantizedTensors(path: string, module: QModule): Generator<TensorToWrite> {
  const { weight } = module
  const dtype = (weight?.dtype ?? 'float32') as FloatDType
  for (const name of ['input_scale', 'output_scale'] as const) {
    yield { name: `${path}.${name}`, dtype, shape: [], bytes: () => scaleBytes(module[name], dtype) }
  }
  if (!(weight instanceof QTensor) || !module.weights) return
  checkQuanto(path, weight)
  const names = quantoTensors(path, { qtype: module.weights, shape: weight.shape, bias: module.bias !== null }, dtype)
  yield { ...names.data, bytes: () => packedCodes(weight) }
  yield { ...names.scale, bytes: () => readOnce(() => weight.scale()) }
  if (names.shift) yield { ...names.shift, bytes: () => readOnce(() => weight.shift()) }
}

function tied(path: string): FormatError {
  const way = 'load with dequantize: true, or dequantize(model), and quantize again'
  return new FormatError(`save: quanto's format has no tied quantized weights; ${path} shares its with another layer; ${way}`)
}

/** quanto does not store group sizes but derives them. */
function checkQuanto(path: string, { qtype, shape, groupSize, shiftTiles }: QTensor): void {
  const [N, K] = matrixShape(shape)
  const expected = quantoGroupSize(qtype, K) ?? K
  if (groupSize !== expected) {
    throw new FormatError(
      `save: quanto's format takes ${qtype.name} of ${K} columns in groups of ${expected}; ${path} has groups of ${groupSize}`,
    )
  }
  if (shiftTiles && !qtype.unsigned) throw new FormatError(`save: quanto's format has no zero points for ${qtype.name}; ${path} has them`)
  if (N === 1 && qtype.bits < 8 && groupSize === K) {
    throw new FormatError(`save: quanto's format has no ${qtype.name} layer with a single output and no groups; exclude ${path}`)
  }
}

async function packedCodes(weight: QTensor): Promise<Uint8Array> {
  const [N, K] = matrixShape(weight.shape)
  const codes = await readOnce(() => weight.codes())
  const G = weight.groupSize
  return weight.qtype.bits === 8 ? codes : packRows(codes, (N * K) / G, G, weight.qtype.bits)
}

/** The bytes of a tensor that is made for this. */
async function readOnce(make: () => Tensor | null): Promise<Uint8Array> {
  const tensor = make()
  if (!tensor) return new Uint8Array()
  try {
    return await tensor.readBytes()
  } finally {
    tensor.dispose()
  }
}

/** The quantized modules of a model, as quanto's files list them. */
export function quantoMap(model: Module): QuantoMap {
  const entries: [string, QuantoModule][] = []
  for (const [path, module] of model.namedModules()) {
    if (!(module instanceof QModule)) continue
    const { weights, activations, outputQuantized } = module
    entries.push([
      path,
      { weights: weights ?? undefined, activations: activations ?? undefined, outputQuantized: !activations || outputQuantized },
    ])
  }
  return new Map(entries)
}

/** An activation's scale in the dtype of the model's floats; 1 where it was never calibrated. */
async function scaleBytes(scale: Tensor | null, dtype: FloatDType): Promise<Uint8Array> {
  return scale ? readOnce(() => cast(scale, dtype)) : oneAs(dtype)
}

/** 1.0, the scale of activations that were never calibrated. */
function oneAs(dtype: FloatDType): Uint8Array {
  const pattern = { float32: [0, 0, 0x80, 0x3f], float16: [0, 0x3c], bfloat16: [0x80, 0x3f] }[dtype]
  return Uint8Array.from(pattern)
}
