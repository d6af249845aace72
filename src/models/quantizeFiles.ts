import { emptyKind, emptyWeight } from '../checkpoints/emptyWeight.ts'
import { inputModes, lostInputs } from '../checkpoints/inputModes.ts'
import type { LoadPlan } from '../checkpoints/plan.ts'
import { refuseMisfit, schemeToWrite } from '../checkpoints/save.ts'
import { type KnownKinds, layersToWrite } from '../checkpoints/savedTensors.ts'
import type { FloatDType } from '../core/dtype.ts'
import { asQType } from '../core/qtype.ts'
import type { WeightKind } from '../formats/schemes/scheme.ts'
import type { Parameter } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import { dequantize } from '../quantize/dequantize.ts'
import { type QuantizeOptions, quantize } from '../quantize/quantize.ts'
import type { CausalLM } from './causalLM.ts'
import { placeFloats, type RewriteOptions, rewriteFiles } from './rewriteFiles.ts'

/** How a model is quantized from files to files. */
export interface QuantizeFilesOptions extends RewriteOptions {
  quantization: QuantizeOptions
  /** The scheme of quantized layers; default: the first that holds their types. */
  format?: string
}

/** What was written. */
export interface QuantizedFiles {
  bytes: number
  /** The scheme of the quantized layers. */
  format: string
  /** Of all parameters before. */
  floatBytes: number
}

/**
 * Whether a model can be quantized from files to files: what its codes look like is then known before they
 * are there.
 */
export function streams(
  { scheme }: LoadPlan,
  floats: boolean,
  { weights, algorithm, overrides = {} }: QuantizeOptions,
): boolean {
  const all = [weights, ...Object.values(overrides).flatMap((override) => override?.weights ?? [])]
  const known = all.every((type) => asQType(type).values !== 'codebook') && typeof algorithm !== 'object'
  const ofGguf = Object.values(overrides).some((override) => override?.type)
  return (scheme === 'none' || floats) && known && !ofGguf
}

/**
 * Reads a model, quantizes it and writes it, tensor by tensor: the same files as load, `quantize`, `freeze`
 * and `save`, in memory for one tensor. The plan's model is left without values.
 * @param floats whether quantized weights are made floats first
 * @throws FormatError as `loadCausalLM` and `save`
 */
export async function quantizeFiles(
  plan: LoadPlan<CausalLM>,
  target: string,
  floats: boolean,
  options: QuantizeFilesOptions,
): Promise<QuantizedFiles> {
  const { model } = plan
  for (const message of plan.warnings) options.onWarning(message)
  if (floats) dequantize(model)
  const floatBytes = placeFloats(plan, options.dtype)
  quantize(model, options.quantization)
  const kinds = placeCodes(model)
  const layers = await layersToWrite(model, kinds)
  const scheme = await schemeToWrite(options.format, layers)
  for (const lost of lostInputs(inputModes(model), scheme.writer, layers.quantized))
    options.onWarning(`save: ${lost}`)
  const onWeight: RewriteOptions['onWeight'] = async (path, layer, float) => {
    await refuseMisfit(scheme, path, layer.quantizedWeight())
    await options.onWeight?.(path, layer, float)
  }
  const bytes = await rewriteFiles({ plan, scheme, kinds, kept: new Set() }, target, { ...options, onWeight })
  return { bytes, format: scheme.name, floatBytes }
}

/**
 * The scheme that a quantized model will be saved in, known before any weight is read. The plan's model is
 * left with layers without values.
 * @param reordered whether columns will stand in another order
 * @throws FormatError if the scheme of that name, or where none is asked for any, cannot hold it
 */
export async function schemeOfPlan(
  { model, scheme }: LoadPlan<CausalLM>,
  quantization: QuantizeOptions,
  { format, reordered = false }: { format?: string; reordered?: boolean },
): Promise<string> {
  if (scheme !== 'none') dequantize(model)
  quantize(model, quantization)
  const kinds = new Map([...placeCodes(model)].map(([weight, kind]) => [weight, { ...kind, reordered }]))
  const layers = await layersToWrite(model, kinds)
  const { name, writer } = await schemeToWrite(format, layers)
  // What layers do not have in common is refused here, too.
  writer.settings(layers.quantized, layers.floats)
  return name
}

/**
 * Stands quantized weights without values in for those of the twins: alike ones of a tied weight share one.
 * @returns what schemes ask of them
 */
function placeCodes(model: CausalLM): KnownKinds {
  const places = new Map<Parameter, [QWeightModule, QTensor][]>()
  const kinds = new Map<Parameter, WeightKind>()
  for (const [, twin] of model.namedModules()) {
    if (!(twin instanceof QWeightModule)) continue
    const { weight, quantization } = twin
    const known = places.get(weight) ?? []
    const like = known.find(([{ quantization: other }]) => {
      return other.qtype === quantization.qtype && other.groupSize === quantization.groupSize
    })
    const place = like?.[1] ?? emptyWeight(twin, weight.dtype as FloatDType)
    places.set(weight, [...known, [twin, place]])
    kinds.set(place, emptyKind(twin, place))
    twin.weight = place
  }
  return kinds
}
