import { type FloatDType, isFloatDType } from '../core/dtype.ts'
import type { Device } from '../devices/device.ts'
import { checkFinite } from '../formats/finite.ts'
import type {
  FloatLayer,
  LayerToWrite,
  PartToWrite,
  SchemeWriter,
  WeightKind,
} from '../formats/schemes/scheme.ts'
import { weightKind } from '../formats/schemes/weightKind.ts'
import type { TensorToWrite } from '../formats/tensorFile.ts'
import { joinPath, type Module, type Parameter } from '../nn/module.ts'
import { activationScales, QModule, QWeightModule } from '../nn/qmodule.ts'
import { findTwin } from '../nn/twins.ts'
import { defaultOutlierThreshold } from '../qtensor/computeDtype.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { keep, scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** A tensor to be written, and what of the model it is made of: tied ones have the same source. */
export interface SavedPart extends TensorToWrite {
  readonly source: Parameter | null
  /** Which of the tensors that one source makes. */
  readonly part: string
  /** Of which module it is. */
  readonly modulePath: string
  /**
   * Calls `body` with the values, of what the module holds by then; what was made for that is disposed
   * afterwards.
   * @throws FormatError if they are not finite
   */
  use<R>(body: (values: Tensor) => Promise<R>): Promise<R>
}

/** What is known of weights without values, which stand for those to come. */
export type KnownKinds = ReadonlyMap<Parameter, WeightKind>

/** A quantized module as schemes see it. */
async function layerToWrite(path: string, module: QModule, known: KnownKinds): Promise<LayerToWrite> {
  const { weight, weights, activations, outputQuantized, typeName } = module
  const dtype = (weight?.dtype ?? 'float32') as FloatDType
  const { computeDtype = null, outlierThreshold = defaultOutlierThreshold } = computationOf(module)
  const kind = weight instanceof QTensor ? (known.get(weight) ?? (await weightKind(weight))) : null
  const computation = { computeDtype, outlierThreshold }
  return { path, typeName, weight: kind, weights, activations, outputQuantized, ...computation, dtype }
}

function computationOf(module: QModule): Partial<QWeightModule> {
  return module instanceof QWeightModule ? module : {}
}

/** The layers of a model as schemes see them. */
export interface ModelLayers {
  /** The quantized ones by all their paths. */
  readonly quantized: ReadonlyMap<string, LayerToWrite>
  /** The others that could be. */
  readonly floats: readonly FloatLayer[]
  /** The quantized weights that are there, by the first path of their layer: those to come are not. */
  readonly frozen: ReadonlyMap<string, QTensor>
}

/** Lists the layers of a model; what of scales decides how long tensors are is read. */
export async function layersToWrite(model: Module, known: KnownKinds = new Map()): Promise<ModelLayers> {
  const quantized = new Map<string, LayerToWrite>()
  const floats: FloatLayer[] = []
  const frozen = new Map<QTensor, string>()
  for (const [path, module] of model.namedModules({ removeDuplicate: false })) {
    if (module instanceof QModule) {
      const { weight } = module
      quantized.set(path, await layerToWrite(path, module, known))
      if (weight instanceof QTensor && !known.has(weight) && !frozen.has(weight)) frozen.set(weight, path)
    } else if (findTwin(module)) floats.push({ path, typeName: module.typeName })
  }
  return { quantized, floats, frozen: new Map([...frozen].map(([weight, path]) => [path, weight])) }
}

/**
 * Every tensor of a model, once: what is tied, and a module at several paths, under its first path. Only
 * quantized weights whose holders all want them repeated are written with each.
 * @param writer null for a model without quantized layers
 */
export function* writtenTensors(
  model: Module,
  writer: SchemeWriter | null,
  layers: ModelLayers,
): Generator<SavedPart> {
  const seen = new Set<Parameter>()
  const again = writer ? repeatedWeights(model, writer, layers) : new Set()
  for (const [path, module] of model.namedModules()) {
    const parts = [...partsOf(path, module, writer, layers)]
    for (const part of parts) if (!part.source || !seen.has(part.source) || again.has(part.source)) yield part
    for (const { source } of parts) if (source) seen.add(source)
  }
}

/** Every tensor of a model under each of its paths. */
export function* allTensors(model: Module, writer: SchemeWriter, layers: ModelLayers): Generator<SavedPart> {
  for (const [path, module] of model.namedModules({ removeDuplicate: false }))
    yield* partsOf(path, module, writer, layers)
}

/** The quantized weights that the scheme writes with each of their holders. */
function repeatedWeights(model: Module, writer: SchemeWriter, { quantized }: ModelLayers): Set<Parameter> {
  const repeats = (path: string) => {
    const layer = quantized.get(path)
    return layer !== undefined && writer.repeats(layer)
  }
  const modules = [...model.namedModules()]
  const repeated = new Set<Parameter>()
  for (const [path, module] of modules)
    if (module instanceof QModule && module.weight instanceof QTensor && repeats(path))
      repeated.add(module.weight)
  for (const [path, module] of modules)
    if (!repeats(path)) for (const [, tensor] of module.ownTensors()) repeated.delete(tensor)
  return repeated
}

function* partsOf(
  path: string,
  module: Module,
  writer: SchemeWriter | null,
  { quantized }: ModelLayers,
): Generator<SavedPart> {
  const layer = quantized.get(path)
  if (layer && writer && module instanceof QModule)
    for (const part of writer.parts(layer)) yield quantizedPart(path, module, part)
  const scales: readonly string[] = module instanceof QModule ? activationScales : []
  for (const [name, tensor] of module.ownTensors()) {
    if (tensor instanceof QTensor || scales.includes(name)) continue
    const { dtype, shape } = tensor
    const current = () => [...module.ownTensors()].find(([each]) => each === name)?.[1] as Tensor
    yield savedPart(module, { path, name, dtype, shape }, current, { source: tensor, part: 'values' })
  }
}

function quantizedPart(path: string, module: QModule, part: PartToWrite): SavedPart {
  const { name, dtype, shape } = part
  const make = () => {
    const { weight, input_scale: inputScale, output_scale: outputScale } = module
    const frozen = weight instanceof QTensor ? weight : null
    return part.make({ device: deviceOf(module), weight: frozen, inputScale, outputScale })
  }
  const source = part.of === 'weight' ? module.weight : null
  return savedPart(module, { path, name, dtype, shape }, make, { source, part: name })
}

function savedPart(
  module: Module,
  { path, name, dtype, shape }: Pick<TensorToWrite, 'name' | 'dtype' | 'shape'> & { path: string },
  make: () => Tensor,
  origin: Pick<SavedPart, 'source' | 'part'>,
): SavedPart {
  const full = joinPath(path, name)
  const use: SavedPart['use'] = async (body) => {
    // What is made stands apart from what the layer holds, which stays.
    const held = new Set<unknown>([...module.ownTensors()].map(([, tensor]) => tensor))
    const tensor = scope(() => keep(make()))
    try {
      if (isFloatDType(dtype)) await checkFinite('save', { name: full, byteOffset: 0 }, tensor)
      return await body(tensor)
    } finally {
      if (!held.has(tensor)) tensor.dispose()
    }
  }
  const bytes = () => use((values) => values.readBytes())
  return { name: full, dtype, shape, bytes, use, modulePath: path, ...origin }
}

function deviceOf(module: QModule): Device {
  const [, tensor] = [...module.ownTensors()][0]
  return tensor.device
}
