import { dtypes, isFloatDType } from '../core/dtype.ts'
import { FormatError, ShapeError } from '../core/errors.ts'
import { check, isObject, type Kind, show } from '../core/kinds.ts'
import { nearest } from '../core/nearest.ts'
import { checkOptions } from '../core/options.ts'
import { asQType, type QTypeName } from '../core/qtype.ts'
import { sameShape, showShape } from '../core/shape.ts'
import { aDevice, type Device } from '../devices/device.ts'
import { openDevice } from '../devices/open.ts'
import { findQuantoTensors } from '../formats/quanto.ts'
import type { TensorFile, TensorInfo } from '../formats/tensorFile.ts'
import { aModule, type Module, type Parameter } from '../nn/module.ts'
import { activationScales, QModule, QWeightModule } from '../nn/qmodule.ts'
import { Uncalibrated } from '../nn/uncalibrated.ts'
import { activationType } from '../quantize/quantize.ts'
import { quantizedTwin } from '../quantize/requantize.ts'
import { Tensor } from '../tensor/tensor.ts'
import { readActivationScales } from './activationScales.ts'
import { readFloat, readQuanto } from './loadTensor.ts'
import { namedTensors } from './save.ts'

/** One tensor of a state dictionary: its raw bytes, little-endian. */
export interface SavedTensor extends Pick<TensorInfo, 'dtype' | 'shape'> {
  bytes: Uint8Array
}

/** Every tensor of a model by the name that quanto gives it: `fc.weight`, `fc.weight._data`, `fc.weight._scale`, `fc.input_scale` … */
export type StateDict = ReadonlyMap<string, SavedTensor>

/** Types of the quantized modules of a model by path, as `quantizationMap` gives them. */
export type TypeMap = Readonly<Record<string, { weights: QTypeName | 'none'; activations: QTypeName | 'none'; outputQuantized?: boolean }>>

const aState: Kind = { must: 'be a Map of tensors by name, as stateDict gives it', holds: (value) => value instanceof Map }

/** Resolves to copies of all tensors of a model, under the names that quanto's `state_dict()` gives them. */
export async function stateDict(model: Module): Promise<Map<string, SavedTensor>> {
  check('stateDict', 'model', model, aModule)
  const state = new Map<string, SavedTensor>()
  for (const { name, dtype, shape, bytes } of namedTensors(model)) state.set(name, { dtype, shape, bytes: await bytes() })
  return state
}

/**
 * Puts the tensors of a state dictionary into a model of the same layers; what it held before is given back. A quantized layer may be in it
 * with its float weight or with codes and scales: it is then frozen.
 * @throws FormatError that lists every tensor that is missing, too many, or of another shape; the model is then as before
 */
export async function loadStateDict(model: Module, state: StateDict, options: { device?: Device } = {}): Promise<void> {
  checkState('loadStateDict', model, state, options)
  await loadTensors(model, asFile(state), options.device ?? deviceOf(model) ?? openDevice())
}

/**
 * Quantizes the layers that `map` names, as it says, and puts the tensors of a state dictionary into the model, which needs no memory before.
 * @param map as `quantizationMap` gives it
 * @throws ShapeError if the map names what is not a layer with a twin, DTypeError if it names no type, FormatError as `loadStateDict`; the
 *   model is then as before
 */
export async function requantize(model: Module, state: StateDict, map: TypeMap, options: { device?: Device } = {}): Promise<void> {
  checkState('requantize', model, state, options)
  if (!isObject(map)) throw new ShapeError(`requantize: map must be an object with types by path; received ${show(map)}`)
  const undo = applyTypes(model, map)
  await loadStateDict(model, state, options).catch((error: unknown) => {
    undo()
    throw error
  })
}

/** @throws ShapeError unless these can be loaded */
function checkState(operation: string, model: Module, state: StateDict, options: { device?: Device }): void {
  check(operation, 'model', model, aModule)
  check(operation, 'state', state, aState)
  checkOptions(operation, options, { device: aDevice })
  for (const [name, tensor] of state) {
    if (!isObject(tensor) || !Object.hasOwn(dtypes, tensor.dtype) || !Array.isArray(tensor.shape) || !(tensor.bytes instanceof Uint8Array))
      throw new FormatError(`${operation}: ${name} must have dtype, shape and bytes; received ${show(tensor)}`)
  }
}

/**
 * Replaces the layers that `map` names by twins of those types.
 * @returns what puts the layers back
 * @throws ShapeError or DTypeError if one cannot be replaced, before any is
 */
export function applyTypes(model: Module, map: TypeMap): () => void {
  const layers = new Map([...model.namedModules()])
  const uncalibrated = new Uncalibrated()
  const twins = Object.entries(map).map(([path, types]): [string, QModule] => {
    if (!isObject(types)) throw new ShapeError(`requantize: ${path} must have weights and activations; received ${show(types)}`)
    const { weights, activations, outputQuantized } = types
    const layer = layers.get(path)
    const qtype = activationType(activations === 'none' ? undefined : activations, `requantize: ${path}`)
    const weightType = weights === 'none' ? undefined : asQType(weights, `requantize: ${path}: weights`)
    const twin = layer && quantizedTwin(layer, weightType, { qtype, uncalibrated })
    if (twin) {
      twin.outputQuantized = outputQuantized ?? true
      return [path, twin]
    }
    const paths = [...layers].flatMap(([name, module]) =>
      quantizedTwin(module, asQType('int8'), { qtype: null, uncalibrated }) ? [name] : [],
    )
    const near = nearest(path, paths).join(', ')
    throw new ShapeError(`requantize: the map must name layers of the model; ${JSON.stringify(path)} is not one, the nearest are ${near}`)
  })
  for (const [path, twin] of twins) {
    model.setModule(path, twin)
    uncalibrated.add(path, twin)
  }
  return () => {
    for (const [path] of twins) {
      const layer = layers.get(path)
      if (layer) model.setModule(path, layer)
    }
  }
}

const counters = /(^|\.)num_batches_tracked$/

/** The batches that batch normalization has seen. */
async function readCounter(file: TensorFile, { name, dtype, shape }: TensorInfo): Promise<BigInt64Array<ArrayBuffer>> {
  if (dtype !== 'int64' || shape.length > 0)
    throw new FormatError(`${file.name}: ${name} must be [] int64; it is ${showShape(shape)} ${dtype}`)
  return new BigInt64Array((await file.read(name)).slice().buffer)
}

/** Reads a tensor, once it is known that all are there. */
type Load = () => Promise<void>

/** Reads every tensor of a model from a file. @throws FormatError as `loadStateDict` */
export async function loadTensors(model: Module, file: TensorFile, device: Device): Promise<void> {
  const used = new Set<string>()
  const problems: string[] = []
  const loads: Load[] = []
  /** Paths, and what stood there. */
  const puts: [path: string, tensor: Parameter][] = []
  const old = new Set<Parameter>()
  const loaded = new Map<Parameter, Parameter>()
  for (const [path, module] of model.namedModules()) {
    const prefix = path === '' ? '' : `${path}.`
    const scales: readonly string[] = module instanceof QModule ? activationScales : []
    for (const name of scales) {
      used.add(prefix + name)
      if (module instanceof QModule && module.activations && !file.tensors.has(prefix + name)) problems.push(`${prefix}${name} is missing`)
    }
    for (const [name, tensor] of module.ownTensors()) {
      if (scales.includes(name)) continue
      const full = prefix + name
      const info = file.tensors.get(full)
      used.add(full)
      old.add(tensor)
      puts.push([full, tensor])
      const put = async (read: () => Promise<Parameter>) => {
        if (!loaded.has(tensor)) loaded.set(tensor, await read())
      }
      if (counters.test(full)) {
        // Older files have none: PyTorch counts for a case that no layer here has.
        loads.push(() =>
          put(async () => Tensor.fromArray(device, info ? await readCounter(file, info) : new BigInt64Array(1), tensor.shape)),
        )
      } else if (info) {
        if (!isFloatDType(info.dtype)) problems.push(`${full} must be float32, float16 or bfloat16; it is ${info.dtype}`)
        else if (!sameShape(info.shape, tensor.shape)) {
          problems.push(`${full} must be ${showShape(tensor.shape)}; it is ${showShape(info.shape)}`)
        } else loads.push(() => put(() => readFloat(device, file, info)))
      } else if (module instanceof QWeightModule && name === 'weight' && file.tensors.has(`${full}._scale`)) {
        const { qtype, groupSize } = module.quantization
        // The bias is a parameter of its own.
        const weight = { qtype, shape: tensor.shape, bias: false, groupSize }
        try {
          const parts = findQuantoTensors(file, path, weight)
          for (const part of Object.values(parts)) used.add(part.name)
          loads.push(() => put(() => readQuanto(device, file, parts, weight)))
        } catch (error) {
          if (!(error instanceof FormatError)) throw error
          problems.push(error.message.slice(file.name.length + 2))
          for (const part of ['_data', '_data._data', '_scale', '_shift']) used.add(`${full}.${part}`)
        }
      } else if (!isTiedElsewhere(model, file, full, tensor)) problems.push(`${full} is missing`)
    }
  }
  const extra = [...file.tensors.keys()].filter((name) => !used.has(name))
  problems.push(...extra.map((name) => `${name} is not a part of the model`))
  if (extra.some((name) => name.endsWith('.weight._scale'))) problems.push('quantized layers must be in the map that requantize takes')
  if (problems.length > 0) throw new FormatError(`${file.name}: the tensors must be those of the model; ${problems.join('; ')}`)
  try {
    for (const load of loads) await load()
    await readActivationScales(device, file, model)
  } catch (error) {
    for (const parameter of loaded.values()) parameter.dispose()
    throw error
  }
  for (const [path, tensor] of puts) {
    const parameter = loaded.get(tensor)
    if (parameter) model.setParameter(path, parameter)
  }
  for (const tensor of old) tensor.dispose()
}

/** Whether the tensor at `path` also stands under another one, which the file has: tied tensors are saved once. */
function isTiedElsewhere(model: Module, file: TensorFile, path: string, tensor: Parameter): boolean {
  return [...model.namedTensors()].some(
    ([other, same]) => same === tensor && other !== path && (file.tensors.has(other) || file.tensors.has(`${other}._scale`)),
  )
}

function asFile(state: StateDict): TensorFile {
  const tensors = new Map(
    [...state].map(([name, { dtype, shape, bytes }]) => [name, { name, dtype, shape, byteOffset: 0, byteLength: bytes.byteLength }]),
  )
  for (const { name, dtype, shape, byteLength } of tensors.values()) {
    const expected = shape.reduce((product, size) => product * size, dtypes[dtype].bytes)
    if (byteLength !== expected)
      throw new FormatError(`state: ${name} must take ${expected} bytes for ${dtype} ${showShape(shape)}; it has ${byteLength}`)
  }
  return {
    name: 'state',
    metadata: new Map(),
    tensors,
    unsupported: new Map(),
    read: async (name) => state.get(name)?.bytes ?? new Uint8Array(),
    close: async () => {},
  }
}

/** The device of the first tensor that has memory. */
function deviceOf(model: Module): Device | undefined {
  for (const [, tensor] of model.namedTensors()) if (!('isMeta' in tensor && tensor.isMeta)) return tensor.device
  return undefined
}
