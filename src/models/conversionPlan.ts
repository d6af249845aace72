import { inputModes, lostInputs } from '../checkpoints/inputModes.ts'
import type { LoadPlan, PlannedParameter } from '../checkpoints/plan.ts'
import { layersToWrite } from '../checkpoints/savedTensors.ts'
import { storedShape, twinOf } from '../checkpoints/twins.ts'
import { type FloatDType, isFloatDType } from '../core/dtype.ts'
import type { QType } from '../core/qtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import type { ModelWriter } from '../formats/modelWriter.ts'
import type { WeightKind } from '../formats/schemes/scheme.ts'
import type { WritingScheme } from '../formats/schemes/targets.ts'
import { placeOfKind, refusalOf, showKind, weightKind } from '../formats/schemes/weightKind.ts'
import type { Parameter } from '../nn/module.ts'
import { QModule, QWeightModule } from '../nn/qmodule.ts'
import type { LayerClass } from '../nn/twins.ts'
import { Uncalibrated } from '../nn/uncalibrated.ts'
import { matrixShape } from '../qtensor/parts.ts'
import { relativeDistance } from '../qtensor/relativeDistance.ts'
import { hasRuns } from '../quantize/codebook.ts'
import { dequantizeTwins } from '../quantize/dequantize.ts'
import { type QuantizeOptions, quantize } from '../quantize/quantize.ts'
import { keep, scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { CausalLM } from './causalLM.ts'
import { type ChosenLayers, chosenLayers, twinsAt } from './chosenLayers.ts'
import { inOrder, loadParameter } from './load.ts'
import { placeFloats, type Rewriting } from './rewriteFiles.ts'

/** What becomes of one tensor of a model in another format. */
export interface ConvertedTensor {
  readonly path: string
  readonly shape: Shape
  /** What it is in the source: `float16`, `qint4, groups of 32`. */
  readonly from: string
  /** What it will be. */
  readonly to: string
  /** Whether every value stays what it is. */
  readonly exact: boolean
  /**
   * ‖W − Ŵ‖₂ / ‖W‖₂, Ŵ what the source's weight W becomes; null of a float that is rounded to another dtype.
   */
  readonly error: number | null
  /** Why its codes cannot go over as they are; null where they do, and of floats. */
  readonly reason: string | null
}

/** The options of `quantize` that a target decides. */
export type TargetQuantization = Omit<QuantizeOptions, 'weights' | 'include' | 'exclude' | 'layers'> & {
  readonly weights: QType
}

/** What a conversion is to do. */
export interface PlanConversionOptions {
  readonly device: Device
  /** How quantized weights are written; null where all become floats. */
  readonly scheme: WritingScheme | null
  /** Whether codes that the scheme can hold are to stay; default: all. */
  holds?(weight: WeightKind): boolean
  /** What becomes of weights that cannot go over; null where all become floats. */
  readonly quantization: TargetQuantization | null
  /** What of that differs for the layer at a path, or why it stays float. */
  differs?(path: string, shape: Shape): Partial<TargetQuantization> | string
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  /** What floats become; default: as saved. */
  readonly dtype?: FloatDType
  /** Where the tensors go; default: safetensors, in a folder. */
  readonly container?: ModelWriter
  readonly signal?: AbortSignal
  onWarning(message: string): void
  onProgress?(bytes: number, totalBytes: number): void
}

/** A conversion of which everything is known, and nothing written. */
export interface ConversionPlan extends Rewriting {
  readonly tensors: readonly ConvertedTensor[]
}

/** What a look at a weight has told. */
interface Looked {
  readonly kind: WeightKind | null
  /** Why they cannot go over; null where they can. */
  readonly reason: string | null
}

/**
 * Looks at every weight that is quantized, or is to be, and says what becomes of it. The plan's model gets
 * twins with weights that stand for those to come.
 * @throws ShapeError as `quantize`
 */
export async function planConversion(
  plan: LoadPlan<CausalLM>,
  options: PlanConversionOptions,
): Promise<ConversionPlan> {
  const { model, parameters } = plan
  const { scheme, dtype, container } = options
  const chosen = chosenLayers(plan, scheme, options)
  const progress = progressOf(parameters, options)
  const looked = await lookAtCodes(plan, chosen, options, progress)
  const kept = new Map<PlannedParameter, WeightKind>()
  for (const [planned, { kind, reason }] of looked) if (kind && reason === null) kept.set(planned, kind)
  const kinds = new Map<Parameter, WeightKind>()
  const modes = inputModes(model)
  replaceTwins(plan, kept, options)
  placeFloats(plan, dtype)
  for (const [planned, kind] of kept) putPlace(twinsAt(model, planned), kind, kinds)
  const { making, floats } = layersToMake(plan, chosen, kept, options)
  putTwins(model, [...making.values()])
  const made = await makeCodes(plan, making, { kinds, floats }, options, progress)
  const layers = await layersToWrite(model, kinds)
  const { writer = null } = scheme ?? {}
  for (const lost of lostInputs(modes, writer, layers.quantized)) options.onWarning(`convert: ${lost}`)
  // What layers do not have in common is refused before a plan is shown.
  if (layers.quantized.size > 0) writer?.settings(layers.quantized, layers.floats)
  const tensors = parameters.map((planned) => {
    const { path, shape, kind: from, weight } = planned
    const become = kept.get(planned) ?? made.get(planned)?.kind
    const held = isFloatDType(planned.dtype) ? (dtype ?? planned.dtype) : planned.dtype
    const float = container?.adapt?.({ name: path, dtype: held, shape })?.dtype ?? held
    // Halves are exact in float32.
    const exact = kept.has(planned) || (!become && (float === planned.dtype || float === 'float32'))
    const against = weight && !kept.has(planned) ? (looked.get(planned)?.reason ?? null) : null
    const reason = floats.get(planned) ?? against
    const error = exact ? 0 : (made.get(planned)?.error ?? null)
    return { path, shape, from, to: become ? showKind(become) : float, exact, error, reason }
  })
  return { plan, scheme, kinds, kept: new Set(kept.keys()), tensors, container }
}

type Kept = ReadonlyMap<PlannedParameter, WeightKind>
type Progress = (planned: PlannedParameter) => void

function progressOf(
  parameters: readonly PlannedParameter[],
  { onProgress }: PlanConversionOptions,
): Progress {
  const total = parameters.reduce((sum, { byteLength }) => sum + byteLength, 0)
  let done = 0
  return ({ byteLength }) => {
    done += byteLength
    onProgress?.(Math.min(done, total), total)
  }
}

/** Looks at the weights that the target may hold, without their codes, and asks whether it does. */
async function lookAtCodes(
  plan: LoadPlan<CausalLM>,
  chosen: ChosenLayers,
  { scheme, holds, device, signal }: PlanConversionOptions,
  progress: Progress,
): Promise<Map<PlannedParameter, Looked>> {
  const looked = new Map<PlannedParameter, Looked>()
  if (!scheme) return looked
  const { writer } = scheme
  const reading: PlannedParameter[] = []
  for (const planned of plan.parameters) {
    const { weight } = planned
    if (!weight) continue
    const { qtype } = weight
    const left = chosen.reasonAgainst(planned)
    if (left !== null) looked.set(planned, { kind: null, reason: left })
    else if (!writer.types.includes(qtype))
      looked.set(planned, {
        kind: null,
        reason: `it is ${qtype.name}, and ${scheme.name} takes ${writer.types.map(({ name }) => name).join(', ')}`,
      })
    else reading.push(planned)
  }
  const look = async (planned: PlannedParameter) => {
    signal?.throwIfAborted()
    const weight = await planned.loadAs('none', device)
    if (!weight) return null
    try {
      const kind = await weightKind(weight)
      const other = holds && !holds(kind) ? `it is ${showKind(kind)}, and another is asked for` : null
      looked.set(planned, {
        kind,
        reason: refusalOf(writer, kind) ?? other ?? (await writer.fits?.(weight)) ?? null,
      })
      return null
    } finally {
      weight.dispose()
    }
  }
  for await (const [planned] of inOrder(reading, look, 3)) progress(planned)
  return looked
}

/** Twins of weights that do not go over become float layers; activations that the target has not, float. */
function replaceTwins(
  plan: LoadPlan<CausalLM>,
  kept: Kept,
  { scheme, onWarning }: PlanConversionOptions,
): void {
  const { model } = plan
  const kindOf = new Map(
    [...kept].flatMap(([planned, kind]) => twinsAt(model, planned).map((twin) => [twin as QModule, kind])),
  )
  const holds = ({ activations }: QModule) =>
    !activations || scheme?.writer.activations?.includes(activations)
  const twins = [...model.namedModules()].flatMap(([, module]) => (module instanceof QModule ? [module] : []))
  const lost = twins.filter((twin) => !holds(twin))
  if (lost.length > 0)
    onWarning(
      `convert: the target holds no quantized activations; those of ${lost.length} layers become floats`,
    )
  const without = lost.filter((twin) => kindOf.has(twin))
  const bare = new Map(
    without.map((twin) => {
      const layer = twin.floatLayer(twin.weight as Tensor)
      const types = { weight: { facts: kindOf.get(twin) as WeightKind }, activations: null }
      return [twin, twinOf(layer, types, new Uncalibrated()) as QModule]
    }),
  )
  model.replaceModules(bare)
  dequantizeTwins(
    model,
    twins.filter(
      (twin) => !bare.has(twin) && !kindOf.has(twin) && (twin instanceof QWeightModule || !holds(twin)),
    ),
  )
}

/** Puts a weight without values into the twins of a parameter. */
function putPlace(
  twins: readonly QWeightModule[],
  kind: WeightKind,
  kinds: Map<Parameter, WeightKind>,
): void {
  const place = placeOfKind(kind)
  kinds.set(place, kind)
  for (const twin of twins) twin.weight = place
}

/** Layers of one parameter whose codes are made anew, and how. */
interface Making {
  readonly layers: readonly string[]
  readonly quantization: TargetQuantization
}

/** The layers whose codes are made anew, and why others that were chosen become or stay floats. */
function layersToMake(
  { model, parameters }: LoadPlan<CausalLM>,
  chosen: ChosenLayers,
  kept: Kept,
  { quantization, differs }: PlanConversionOptions,
): { making: Map<PlannedParameter, Making>; floats: Map<PlannedParameter, string> } {
  const making = new Map<PlannedParameter, Making>()
  const floats = new Map<PlannedParameter, string>()
  for (const planned of parameters) {
    const layers = kept.has(planned) ? [] : chosen.layersOf(planned)
    if (!quantization || layers.length === 0) continue
    const shape = storedShape(model.getModule(layers[0])) ?? []
    const own = differs?.(layers[0], shape) ?? {}
    if (typeof own === 'string') {
      floats.set(planned, own)
      continue
    }
    const becomes = { ...quantization, ...own }
    const [[, columns], size] = [matrixShape(shape), becomes.groupSize ?? 1]
    if (columns % size === 0 || hasRuns(becomes.weights))
      making.set(planned, { layers, quantization: becomes })
    else floats.set(planned, `its ${columns} columns are no multiple of ${size}`)
  }
  return { making, floats }
}

/** Puts twins in the places of layers, all of those at once that become the same. */
function putTwins(model: CausalLM, making: readonly Making[]): void {
  const groups: { quantization: TargetQuantization; include: string[] }[] = []
  for (const { layers, quantization } of making) {
    const { weights, algorithm, groupSize } = quantization
    const group = groups.find(
      ({ quantization: other }) =>
        other.weights === weights && other.algorithm === algorithm && other.groupSize === groupSize,
    )
    if (group) group.include.push(...layers)
    else groups.push({ quantization, include: [...layers] })
  }
  for (const { quantization, include } of groups) {
    const classes = new Set(include.map((path) => model.getModule(path).constructor as LayerClass))
    quantize(model, { ...quantization, include, layers: [...classes] })
  }
}

/** What a weight became, and how far from the source's. */
interface Made {
  readonly kind: WeightKind
  readonly error: number
}

/** What is found on the way, parameter by parameter. */
interface Found {
  /** What schemes ask of weights to come. */
  readonly kinds: Map<Parameter, WeightKind>
  /** Why weights become or stay floats. */
  readonly floats: Map<PlannedParameter, string>
}

/** Quantizes each weight once, to see what it becomes; one that the target cannot hold becomes a float. */
async function makeCodes(
  plan: LoadPlan<CausalLM>,
  making: ReadonlyMap<PlannedParameter, Making>,
  { kinds, floats }: Found,
  { scheme, device, dtype, signal }: PlanConversionOptions,
  progress: Progress,
): Promise<Map<PlannedParameter, Made>> {
  const { model } = plan
  const made = new Map<PlannedParameter, Made>()
  const twinsOf = (planned: PlannedParameter) =>
    (making.get(planned)?.layers ?? []).map((path) => model.getModule(path) as QWeightModule)
  const make = async (planned: PlannedParameter) => {
    signal?.throwIfAborted()
    const float = (await loadParameter(plan, planned, device, dtype, true)) as Tensor
    const [twin] = twinsOf(planned)
    const before = twin.weight
    twin.weight = float
    const weight = scope(() => keep(twin.quantizedWeight()))
    try {
      const kind = await weightKind(weight)
      const refused = scheme && (refusalOf(scheme.writer, kind) ?? (await scheme.writer.fits?.(weight)))
      if (refused) floats.set(planned, refused)
      else
        made.set(planned, {
          kind,
          error: await relativeDistance(() => [twin.outputRows(float), weight.dequantize()]),
        })
      return null
    } finally {
      twin.weight = before
      weight.dispose()
      float.dispose()
    }
  }
  for await (const [planned] of inOrder([...making.keys()], make, 2)) progress(planned)
  for (const [planned, { kind }] of made) putPlace(twinsOf(planned), kind, kinds)
  const refused = [...making.keys()].filter((planned) => !made.has(planned))
  dequantizeTwins(model, refused.flatMap(twinsOf))
  return made
}
