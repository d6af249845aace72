import { FormatError } from '../../core/errors.ts'
import { compareOutputs } from '../../evaluate/compareOutputs.ts'
import { channelMagnitudes } from '../../evaluate/inspection/channels.ts'
import { LayerDivergences } from '../../evaluate/inspection/layerDivergences.ts'
import { weightHistogram } from '../../evaluate/inspection/weightHistogram.ts'
import type { CausalLM } from '../../models/causalLM.ts'
import type { Module } from '../../nn/module.ts'
import { QWeightModule } from '../../nn/qmodule.ts'
import { planTwins } from '../../quantize/quantize.ts'
import { scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import { readTextFile } from '../input.ts'
import { interrupted, withoutYielding } from '../interrupt.ts'
import { progressBar } from '../output.ts'
import type { InspectedTensor, ReportData, TextData } from './data.ts'
import type { ReportOptions } from './options.ts'

/** Tokens of the text that are looked at by default: float outputs of all layers are held for them. */
const usualTokens = 128
/** How long layers are measured as they are, and in all other types; then the report says how many there are. */
const [contributionMs, sensitivityMs] = [90_000, 120_000]
const mostHistograms = 6
/** Of a token; a text is cut there. */
const mostCharacters = 16
/** The types that layers are tried in. */
const triedTypes = ['int8', 'int4', 'int2'] as const

/** What the report shows beside the errors of weights. */
export async function measure(
  model: CausalLM,
  baseline: CausalLM,
  tensors: readonly InspectedTensor[],
  options: ReportOptions & { json?: boolean },
): Promise<Pick<ReportData, 'histograms' | 'text'>> {
  const ids = options.text === undefined ? undefined : await tokensOf(model, options.text, options.tokens)
  return {
    histograms: await worstHistograms(model, baseline, tensors),
    ...(ids && { text: await measureText(model, baseline, ids, options) }),
  }
}

async function tokensOf(
  { tokenizer, config }: CausalLM,
  path: string,
  most = usualTokens,
): Promise<number[]> {
  const text = await readTextFile(path)
  if (!tokenizer) throw new FormatError('inspect: the model must have a tokenizer for --text; it has none')
  // Some tokens are looked at: no need to read a whole book.
  const ids = withoutYielding(() =>
    tokenizer.encode(text.slice(0, most * mostCharacters), { addSpecialTokens: false }),
  )
  return ids.slice(0, Math.min(most, config.maxPositions))
}

/** The quantized layers of a model that have a counterpart in the float one, by path. */
function quantizedLayers(model: CausalLM): Map<string, QWeightModule> {
  return new Map(
    [...model.namedModules()].filter(
      (entry): entry is [string, QWeightModule] => entry[1] instanceof QWeightModule,
    ),
  )
}

/** Histograms of the weights of the layers with the largest errors. */
async function worstHistograms(
  model: CausalLM,
  baseline: CausalLM,
  tensors: readonly InspectedTensor[],
): Promise<ReportData['histograms']> {
  const errors = new Map(tensors.map(({ name, error }) => [name, error ?? 0]))
  const worst = [...quantizedLayers(model)]
    .map(([path, layer]) => ({ path, layer, error: errors.get(`${path}.weight`) ?? 0 }))
    .filter(({ error }) => error > 0)
    .sort((a, b) => b.error - a.error)
    .slice(0, mostHistograms)
  const histograms: ReportData['histograms'] = []
  for (const { path, layer, error } of worst) {
    interrupted.throwIfAborted()
    const float = baseline.getParameter(`${path}.weight`) as Tensor
    histograms.push({ path, error, ...(await weightHistogram(layer, float)) })
  }
  return histograms
}

/** What the beginning of a text shows of a quantized model beside the float one. */
async function measureText(
  model: CausalLM,
  baseline: CausalLM,
  ids: readonly number[],
  options: { json?: boolean },
): Promise<TextData> {
  const layers = quantizedLayers(model)
  const paths = layers.size > 0 ? [...layers.keys()] : [...planTwins(baseline, { weights: 'int8' }).keys()]
  const outputs = await compareOutputs(baseline, model, ids)
  const channels = await channelMagnitudes(baseline, paths, () => baseline.forward(ids))
  const divergences = new LayerDivergences(baseline, ids)
  try {
    const contributions = await followed('layers', options, (progress) =>
      divergences.each(layers, { ...progress, until: performance.now() + contributionMs }),
    )
    const tried = triedTypes.map((weights) => ({ weights, twins: twinsOf(baseline, weights, paths) }))
    const quality = await qualities(model, layers, divergences, tried)
    const sensitivities: TextData['sensitivities'] = []
    let left = sensitivityMs
    for (const [i, { weights, twins }] of tried.toReversed().entries()) {
      const started = performance.now()
      const until = started + left / (tried.length - i)
      const measured = await followed(weights, options, (progress) =>
        divergences.each(twins, { ...progress, until }),
      )
      left -= performance.now() - started
      for (const [path, { klDivergence }] of measured) sensitivities.push({ path, weights, klDivergence })
    }
    return {
      tokens: ids.length,
      outputs,
      contributions: [...contributions].map(([path, { klDivergence }]) => ({ path, klDivergence })),
      possibleContributions: layers.size,
      channels,
      sensitivities,
      possibleSensitivities: tried.reduce((sum, { twins }) => sum + twins.size, 0),
      quality,
    }
  } finally {
    divergences.dispose()
  }
}

type Progress = { signal: AbortSignal; onProgress: (done: number, total: number) => void }

async function followed<T>(
  label: string,
  options: { json?: boolean },
  body: (progress: Progress) => Promise<T>,
): Promise<T> {
  const bar = await progressBar(label, options)
  return body({ signal: interrupted, onProgress: bar.update }).finally(bar.stop)
}

/** Twins of the layers that are named, in weights of a type. */
function twinsOf(model: CausalLM, weights: 'int8' | 'int4' | 'int2', paths: readonly string[]) {
  const found = new Map<string, QWeightModule>()
  for (const [path, { twin }] of planTwins(model, { weights, layers: 'default' }))
    if (paths.includes(path) && twin instanceof QWeightModule) found.set(path, twin)
  return found
}

/** Bits of a weight against what whole models guess, the float one first. */
async function qualities(
  model: CausalLM,
  layers: ReadonlyMap<string, QWeightModule>,
  divergences: LayerDivergences,
  tried: readonly { weights: string; twins: ReadonlyMap<string, QWeightModule> }[],
): Promise<TextData['quality']> {
  const { float } = divergences
  const inPlace = (twins: ReadonlyMap<string, Module>) =>
    new Map([...twins].map(([path, twin]) => [float.getModule(path), twin]))
  const floats = [...(tried[0]?.twins.keys() ?? [])].map((path) => float.getParameter(`${path}.weight`))
  const bits = bitsOf(floats)
  const quality = [{ weights: 'float', bitsPerWeight: bits, ...(await divergences.with(new Map())) }]
  if (layers.size > 0) {
    const held = [...layers.values()].map((layer) => layer.quantizedWeight())
    quality.push({
      weights: `this model`,
      bitsPerWeight: bitsOf(held),
      ...(await divergences.withModel(model)),
    })
  }
  for (const { weights, twins } of tried) {
    interrupted.throwIfAborted()
    const sizes = [...twins.values()].map((twin) =>
      scope(() => {
        const { byteLength, numel } = twin.quantizedWeight()
        return { byteLength, numel }
      }),
    )
    quality.push({ weights, bitsPerWeight: bitsOf(sizes), ...(await divergences.with(inPlace(twins))) })
  }
  return quality
}

function bitsOf(weights: readonly { byteLength: number; numel: number }[]): number {
  const [bytes, count] = [
    weights.reduce((sum, { byteLength }) => sum + byteLength, 0),
    weights.reduce((sum, { numel }) => sum + numel, 0),
  ]
  return (8 * bytes) / count
}
