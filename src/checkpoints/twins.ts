import type { QType } from '../core/qtype.ts'
import type { Shape } from '../core/shape.ts'
import type { QuantizedFile, QuantizedLayer } from '../formats/schemes/scheme.ts'
import type { TensorFile } from '../formats/tensorFile.ts'
import { joinPath, type Module } from '../nn/module.ts'
import { QModule, QWeightModule } from '../nn/qmodule.ts'
import { findTwin, weightShape } from '../nn/twins.ts'
import { Uncalibrated } from '../nn/uncalibrated.ts'
import { type ComputeDType, defaultOutlierThreshold } from '../qtensor/computeDtype.ts'
import { matrixShape, type WeightFacts } from '../qtensor/parts.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { defaultQuantizer } from '../quantize/quantizers.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { Problem } from './problems.ts'

const notThere = 'is not in the model'
const noTwin = 'is not a layer that can be quantized so'

/** How a layer is to be quantized. */
export interface LayerTypes {
  readonly weight: { readonly facts: Pick<WeightFacts, 'qtype' | 'block'> } | null
  readonly activations: QType | null
  readonly outputQuantized?: boolean
  readonly computeDtype?: ComputeDType | null
  readonly outlierThreshold?: number
}

/** The twin of a layer, which takes over its tensors; undefined where there is none. */
export function twinOf(
  layer: Module,
  { weight, activations, outputQuantized = true, ...computation }: LayerTypes,
  uncalibrated: Uncalibrated,
): QModule | undefined {
  const weights = weight && weightQuantization(layer, weight.facts)
  const options = { weights, activations: { qtype: activations, uncalibrated } }
  const twin = findTwin(layer)?.twin.make(layer, options) ?? undefined
  if (twin) twin.outputQuantized = outputQuantized
  if (twin instanceof QWeightModule) {
    const { computeDtype = null, outlierThreshold = defaultOutlierThreshold } = computation
    Object.assign(twin, { computeDtype, outlierThreshold })
  }
  return twin
}

function weightQuantization(layer: Module, { qtype, block }: Pick<WeightFacts, 'qtype' | 'block'>) {
  const [, K] = matrixShape(storedShape(layer) ?? [])
  const groupSize = block.kind === 'group' && block.size < K && block.size > 1 ? block.size : null
  return { qtype, groupSize, quantizer: defaultQuantizer(qtype) }
}

/** The shape of a layer's weight as schemes are asked for it, outputs first; null of a layer without one. */
export function storedShape(layer: Module): Shape | null {
  const weight: unknown = Reflect.get(layer, 'weight')
  return weight instanceof Tensor || weight instanceof QTensor ? weightShape(layer, weight) : null
}

/** How a checkpoint holds a layer, or its twin; null where it is not quantized. */
export function storedLayer(quantized: QuantizedFile, path: string, layer: Module): QuantizedLayer | null {
  const typeName = layer instanceof QModule ? layer.typeName.replace(/^Q/, '') : layer.typeName
  return quantized.layer(path, storedShape(layer) ?? [], typeName)
}

/**
 * The twins of the layers that a checkpoint holds quantized, and those that share a weight with one of them
 * which the file does not hold.
 */
export function quantizedTwins(
  model: Module,
  quantized: QuantizedFile,
  file: TensorFile,
): { twins: Map<Module, QModule>; problems: Problem[] } {
  const problems: Problem[] = []
  const modules = [...model.namedModules({ removeDuplicate: false })]
  const paths = new Set(modules.map(([path]) => path))
  for (const path of quantized.paths ?? [])
    if (!paths.has(path)) problems.push({ tensor: path, kind: 'unexpected', problem: notThere })
  const layers = new Map<Module, QuantizedLayer>()
  const sharing = new Map<unknown, QuantizedLayer>()
  for (const [path, module] of modules) {
    const layer = storedLayer(quantized, path, module)
    if (!layer || layers.has(module)) continue
    layers.set(module, layer)
    if (storedShape(module)) sharing.set(Reflect.get(module, 'weight'), layer)
  }
  // What the settings do not list, and the file does not hold, is stored with another.
  for (const [path, module] of quantized.paths ? [] : modules) {
    const layer = sharing.get(Reflect.get(module, 'weight'))
    if (layer && !layers.has(module) && !file.tensors.has(joinPath(path, 'weight'))) layers.set(module, layer)
  }
  const uncalibrated = new Uncalibrated()
  const twins = new Map<Module, QModule>()
  for (const [path, module] of modules) {
    const layer = layers.get(module)
    if (!layer || twins.has(module)) continue
    const twin = twinOf(module, layer, uncalibrated)
    if (!twin) {
      problems.push({ tensor: path, kind: 'misfit', problem: noTwin })
      continue
    }
    uncalibrated.add(path, twin)
    twins.set(module, twin)
  }
  return { twins, problems }
}
