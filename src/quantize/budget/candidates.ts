import { ShapeError } from '../../core/errors.ts'
import type { Module } from '../../nn/module.ts'
import type { QWeightModule } from '../../nn/qmodule.ts'
import { weightColumns } from '../../nn/twins.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { relativeDistance } from '../../qtensor/relativeDistance.ts'
import { scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import type { CalibratedLayer, FloatLayer } from '../calibrated/algorithm.ts'
import { LayerInputs } from '../calibrated/layerInputs.ts'
import { plannedLayers } from '../calibrated/plannedLayers.ts'
import { outputError, solved, weightRows } from '../calibrated/solve.ts'
import { ggufTypeOfColumns } from '../ggufQuantizers.ts'
import { type LayerOverride, overridesOf } from '../overrides.ts'
import type { QuantizeOptions } from '../quantize.ts'

/** A layer as one of the candidates quantizes it, alone. */
export interface Candidate {
  readonly override: LayerOverride
  /** It holds the codes, and stands in no model; the caller's. */
  readonly twin: QWeightModule
  /** Of codes, scales and offsets as saved. */
  readonly bits: number
  /** ‖y − ŷ‖₂ / ‖y‖₂ of the layer's output y; of its weight where no input was seen, as of embeddings. */
  readonly error: number
}

/** A layer with all its candidates, in the order of the overrides, those that are alike once. */
export interface LayerCandidates {
  readonly path: string
  readonly float: FloatLayer
  readonly candidates: readonly Candidate[]
}

/** How candidates are made. */
export interface CandidateOptions {
  readonly quantization: QuantizeOptions
  readonly overrides: readonly LayerOverride[]
  /** Passes one sample through the float model. */
  readonly passes: readonly (() => unknown)[]
  readonly signal?: AbortSignal
  readonly onProgress?: (done: number, total: number, path: string) => void
}

/**
 * Quantizes every layer by every override, from what the float model gives it; by its own alone where
 * `quantization` has one for it. The model stays as it is.
 * @throws as `quantize` where a layer cannot be so
 */
export async function candidatesOf(
  model: Module,
  { quantization, overrides, passes, signal, onProgress }: CandidateOptions,
): Promise<LayerCandidates[]> {
  const planned = overrides.map((override) =>
    plannedLayers(
      model,
      { ...quantization, overrides: { ...quantization.overrides, '*': override } },
      'chooseBits',
    ),
  )
  const inputs = new Map(
    [...planned[0]].map(([path, layer]) => [
      path,
      new LayerInputs([layer], Math.max(1, passes.length), layer.twin.collects),
    ]),
  )
  const ownOf = overridesOf(model, quantization.overrides)
  const paths = new Map([...model.modulePaths()].map(([module, all]) => [module, all]))
  const made: LayerCandidates[] = []
  try {
    await watch(inputs, passes, signal)
    for (const [path, of] of inputs) {
      signal?.throwIfAborted()
      const layers = planned.map((each) => each.get(path) as CalibratedLayer)
      const [{ float }] = layers
      const candidates: Candidate[] = []
      made.push({ path, float, candidates })
      const own = ownOf(paths.get(float) ?? [path])
      for (const [i, override] of candidatesAlike(float, own ? [own] : overrides).entries())
        if (override) candidates.push({ override, ...(await quantized(layers[i], of)) })
      onProgress?.(made.length, inputs.size, path)
    }
    return made
  } catch (error) {
    disposeCandidates(made)
    throw error
  } finally {
    for (const of of inputs.values()) of.dispose()
  }
}

/** The overrides as the layer can have them; null in the place of one that another before it is like. */
function candidatesAlike(float: FloatLayer, overrides: readonly LayerOverride[]): (LayerOverride | null)[] {
  const columns = weightColumns(float, float.weight)
  const fitting = overrides.map((override) =>
    override.type === undefined ? override : { ...override, type: ggufTypeOfColumns(override.type, columns) },
  )
  const keys = fitting.map((override) => JSON.stringify(override))
  return fitting.map((override, i) => (keys.indexOf(keys[i]) === i ? override : null))
}

/** Gives back what candidates hold. */
export function disposeCandidates(layers: readonly LayerCandidates[]): void {
  for (const { candidates } of layers)
    for (const { twin } of candidates) if (twin.weight instanceof QTensor) twin.weight.dispose()
}

async function watch(
  inputs: ReadonlyMap<string, LayerInputs>,
  passes: readonly (() => unknown)[],
  signal?: AbortSignal,
): Promise<void> {
  const seen = [...inputs.values()].filter(({ seen }) => seen)
  const observations = seen.map((of) => of.watch())
  try {
    for (const pass of passes) {
      noGrad(() => scope(() => void pass()))
      await seen[0]?.group[0].float.weight.device.sync()
      signal?.throwIfAborted()
    }
  } finally {
    for (const end of observations) end()
  }
}

async function quantized(layer: CalibratedLayer, inputs: LayerInputs): Promise<Omit<Candidate, 'override'>> {
  const { float, twin, path } = layer
  const seen = inputs.tokens > 0
  const weight = solved(layer, seen && twin.collects ? inputs.statistics : null)
  // Without inputs each column counts alike.
  const error = seen
    ? await outputError(
        () => inputs.rows(),
        () => weightRows(layer),
        weight,
      )
    : await relativeDistance(() => [twin.outputRows(float.weight), weight.dequantize()])
  if (Number.isNaN(error)) {
    weight.dispose()
    throw new ShapeError(`chooseBits: weights and activations must be finite; those of ${path} are not`)
  }
  twin.weight = weight
  twin.bias = float.bias
  return { twin, bits: 8 * weight.byteLength, error }
}
