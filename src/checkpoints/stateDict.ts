import { aFloatDType, type FloatDType } from '../core/dtype.ts'
import { FormatError, ShapeError } from '../core/errors.ts'
import { aBoolean, check, isObject, type Kind, show } from '../core/kinds.ts'
import { nearest } from '../core/nearest.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { asQType, type QType, type QTypeName } from '../core/qtype.ts'
import { type Shape, showShape } from '../core/shape.ts'
import { aDevice, type Device } from '../devices/device.ts'
import { openDevice } from '../devices/open.ts'
import { storedBytes } from '../formats/safetensors.ts'
import type { StoredDType, TensorFile } from '../formats/tensorFile.ts'
import { aModule, type Module, type Parameter } from '../nn/module.ts'
import type { QModule } from '../nn/qmodule.ts'
import { Uncalibrated } from '../nn/uncalibrated.ts'
import { defaultGroupSize } from '../qtensor/groupSize.ts'
import { matrixShape } from '../qtensor/parts.ts'
import { activationType } from '../quantize/quantize.ts'
import { detectState } from './detectState.ts'
import { fillModel, type LoadedState } from './fill.ts'
import { schemeToWrite } from './save.ts'
import { allTensors, layersToWrite } from './savedTensors.ts'
import { type LayerTypes, storedShape, twinOf } from './twins.ts'

/** One tensor of a state dictionary: its raw bytes, little-endian. */
export interface SavedTensor {
  /** A word of safetensors, such as `U32`, where lowbit has no values of the kind. */
  dtype: StoredDType
  shape: Shape
  bytes: Uint8Array
}

/**
 * Every tensor of a model by the name that it is saved under: `fc.weight`, or, as quanto calls them,
 * `fc.weight._data`, `fc.weight._scale` and `fc.input_scale`.
 */
export type StateDict = ReadonlyMap<string, SavedTensor>

/** Types of the quantized modules of a model by path, as `quantizationMap` gives them. */
export type TypeMap = Readonly<
  Record<string, { weights: QTypeName | 'none'; activations: QTypeName | 'none'; outputQuantized?: boolean }>
>

const aState: Kind = {
  must: 'be a Map of tensors by name, as stateDict gives it',
  holds: (value) => value instanceof Map,
}

/**
 * Resolves to copies of all tensors of a model, under the names that `save` gives them by default (quanto's,
 * but of types that only other schemes hold); those of a module at several paths, and tied ones, under each.
 * Quantized layers that are not frozen give their float weights.
 */
export async function stateDict(model: Module): Promise<Map<string, SavedTensor>> {
  check('stateDict', 'model', model, aModule)
  const state = new Map<string, SavedTensor>()
  const known = new Map<Parameter, Map<string, Uint8Array>>()
  const layers = await layersToWrite(model)
  const { writer } = await schemeToWrite(undefined, layers)
  const tensors = allTensors(model, writer, layers)
  for (const { name, dtype, shape, source, part, bytes } of tensors) {
    const read = source ? (known.get(source) ?? new Map<string, Uint8Array>()) : new Map<string, Uint8Array>()
    if (source) known.set(source, read)
    const content = read.get(part) ?? (await bytes())
    read.set(part, content)
    state.set(name, { dtype, shape, bytes: content })
  }
  return state
}

/** How a state dictionary is put into a model. */
export interface LoadStateOptions {
  /** Default: the model's, or `openDevice()`. */
  device?: Device
  /**
   * What float tensors are stored as, float32 to train them; default: as saved. Quantized weights stay as
   * they are.
   */
  dtype?: FloatDType
  /**
   * Whether the names must be those of the model, all of them; else what is missing keeps its values, and
   * what is not known is passed over. Default true.
   */
  strict?: boolean
}

export const loadStateKinds: OptionKinds<LoadStateOptions> = {
  device: aDevice,
  dtype: aFloatDType,
  strict: aBoolean,
}

/**
 * Puts the tensors of a state dictionary into a model of the same layers; what it held before is given back.
 * A quantized layer may be in it with its float weight or with codes and scales: it is then frozen. What is
 * tied in the model needs to be there under one of its paths.
 * @throws FormatError that lists every tensor that is missing, too many, or of another shape; the model is
 * then as before
 */
export async function loadStateDict(
  model: Module,
  state: StateDict,
  options: LoadStateOptions = {},
): Promise<LoadedState> {
  checkState('loadStateDict', model, state, options)
  const { file, quantized } = await detectState(model, asFile(state))
  const { device = deviceOf(model) ?? openDevice(), dtype, strict = true } = options
  return fillModel(model, file, quantized, { device, dtype, strict })
}

/**
 * Quantizes the layers that `map` names, as it says, and puts the tensors of a state dictionary into the
 * model, which needs no memory before.
 * @param map as `quantizationMap` gives it
 * @throws ShapeError if the map names what is not a layer with a twin, DTypeError if it names no type,
 * FormatError as `loadStateDict`; the
 *   model is then as before
 */
export async function requantize(
  model: Module,
  state: StateDict,
  map: TypeMap,
  options: LoadStateOptions = {},
): Promise<LoadedState> {
  checkState('requantize', model, state, options)
  if (!isObject(map))
    throw new ShapeError(`requantize: map must be an object with types by path; received ${show(map)}`)
  const undo = applyTypes(model, map)
  return loadStateDict(model, state, options).catch((error: unknown) => {
    undo()
    throw error
  })
}

/** @throws ShapeError unless these can be loaded */
function checkState(operation: string, model: Module, state: StateDict, options: LoadStateOptions): void {
  check(operation, 'model', model, aModule)
  check(operation, 'state', state, aState)
  checkOptions(operation, options, loadStateKinds)
  for (const [name, tensor] of state) {
    if (
      !isObject(tensor) ||
      typeof tensor.dtype !== 'string' ||
      !Array.isArray(tensor.shape) ||
      !(tensor.bytes instanceof Uint8Array)
    )
      throw new FormatError(
        `${operation}: ${name} must have dtype, shape and bytes; received ${show(tensor)}`,
      )
  }
}

/**
 * Replaces the layers that `map` names by twins of those types, wherever they stand.
 * @returns what puts the layers back
 * @throws ShapeError or DTypeError if one cannot be replaced, before any is
 */
function applyTypes(model: Module, map: TypeMap): () => void {
  const layers = new Map([...model.namedModules({ removeDuplicate: false })])
  const uncalibrated = new Uncalibrated()
  const twins = new Map<Module, QModule>()
  for (const [path, types] of Object.entries(map)) {
    if (!isObject(types))
      throw new ShapeError(`requantize: ${path} must have weights and activations; received ${show(types)}`)
    const { weights, activations, outputQuantized } = types
    const layer = layers.get(path)
    const operation = `requantize: ${path}`
    const type = weights === 'none' ? null : asQType(weights, `${operation}: weights`)
    const qtype = activationType(activations === 'none' ? undefined : activations, operation)
    const twin =
      layer &&
      twinOf(layer, { weight: byRule(layer, type), activations: qtype, outputQuantized }, uncalibrated)
    if (!twin) throw notALayer(path, layers)
    const other = twins.get(layer)
    if (other && (other.weights !== twin.weights || other.activations !== twin.activations)) {
      const types = `${path} is to be ${weights}, elsewhere ${other.weights?.name ?? 'none'}`
      throw new ShapeError(`requantize: a layer that stands at several paths must have one type; ${types}`)
    }
    if (other) continue
    twins.set(layer, twin)
    uncalibrated.add(path, twin)
  }
  model.replaceModules(twins)
  return () => model.replaceModules(new Map([...twins].map(([layer, twin]) => [twin, layer])))
}

/** A weight type with the groups that the layer gets by default. */
function byRule(layer: Module, type: QType | null): LayerTypes['weight'] {
  if (!type) return null
  const [, K] = matrixShape(storedShape(layer) ?? [])
  return { facts: { qtype: type, block: { kind: 'group', size: defaultGroupSize(type, K) ?? K } } }
}

function notALayer(path: string, layers: ReadonlyMap<string, Module>): ShapeError {
  const facts = { qtype: asQType('int8'), block: { kind: 'group', size: 1 } } as const
  const types = { weight: { facts }, activations: facts.qtype }
  const paths = [...layers].flatMap(([name, module]) =>
    twinOf(module, types, new Uncalibrated()) ? [name] : [],
  )
  const near = nearest(path, paths).join(', ')
  return new ShapeError(
    `requantize: the map must name layers of the model; ${JSON.stringify(path)} is not one, the nearest are ${near}`,
  )
}

function asFile(state: StateDict): TensorFile {
  const tensors = new Map(
    [...state].map(([name, { dtype, shape, bytes }]) => [
      name,
      { name, dtype, shape, byteOffset: 0, byteLength: bytes.byteLength },
    ]),
  )
  for (const { name, dtype, shape, byteLength } of tensors.values()) {
    const expected = storedBytes(dtype, shape)
    if (byteLength !== expected)
      throw new FormatError(
        `state: ${name} must take ${expected} bytes for ${dtype} ${showShape(shape)}; it has ${byteLength}`,
      )
  }
  const file = { name: 'state', tensors, unknown: new Map() }
  const read = async (name: string) => state.get(name)?.bytes ?? new Uint8Array()
  return {
    ...file,
    read,
    async readRows(name, start, end) {
      const rowBytes = (tensors.get(name)?.byteLength ?? 0) / (tensors.get(name)?.shape[0] ?? 1)
      return (await read(name)).subarray(start * rowBytes, end * rowBytes)
    },
    async readBytes(name, from, length) {
      return (await read(name)).subarray(from, from + length)
    },
    close: async () => {},
  }
}

/** The device of the first tensor that has memory. */
function deviceOf(model: Module): Device | undefined {
  for (const [, tensor] of model.namedTensors())
    if (!('isMeta' in tensor && tensor.isMeta)) return tensor.device
  return undefined
}
