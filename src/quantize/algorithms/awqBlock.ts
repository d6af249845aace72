import type { Module } from '../../nn/module.ts'
import { trace } from '../../nn/trace.ts'
import { fakeQuantizeWeight } from '../../qtensor/weightBlocks.ts'
import { add, concat, div } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { CalibratedBlock, CalibratedLayer, CalibratedRun } from '../calibrated/algorithm.ts'
import type { Edits } from '../calibrated/edits.ts'
import { type Feed, Structure } from '../structure/feeds.ts'
import { mappedFeeds } from '../structure/mappings.ts'
import {
  isMultiplier,
  type Multiplier,
  putWeightRows,
  storedWeight,
  weightRows,
} from '../structure/multiplier.ts'
import { scaleFeed } from '../structure/scaleFeed.ts'
import type { AwqOptions } from './awq.ts'
import { clipLimits, clipped } from './awqClip.ts'
import { BlockInputs, groupSizeOf } from './awqInputs.ts'
import {
  gramError,
  gridScales,
  outputError,
  type Rounding,
  relativeMagnitudes,
  roundedBy,
} from './awqScales.ts'

/** What is known of a model before its blocks are quantized. */
interface Plan {
  readonly model: Module
  readonly feeds: readonly Feed[]
  /** Layers that make queries and keys. */
  readonly scoring: ReadonlySet<string>
}

/** Of each run, known by what changes its tensors. */
const plans = new WeakMap<Edits, Plan>()

/** Finds out which layers may have factors. */
export function planAwq(
  { model, edits, example, layers }: CalibratedRun,
  { mappings }: Pick<AwqOptions, 'mappings'>,
): void {
  using graph = trace(model, example)
  const structure = new Structure(model, graph)
  const feeds = structure.feeds()
  const wanted = mappings ? mappedFeeds('awq', feeds, mappings) : feeds
  const quantized = wanted.filter(({ to }) => to.some((path) => layers.has(path)))
  plans.set(edits, { model, feeds: quantized, scoring: structure.scoring() })
}

/** Scales the columns of a block's layers, and clips their weights. */
export async function awqBlock(block: CalibratedBlock, options: AwqOptions): Promise<void> {
  const plan = plans.get(block.edits)
  const [first] = block.layers.values()
  if (!plan || !first) return
  const { model, scoring } = plan
  const { clip = first.twin.quantization.quantizer.collects === undefined, searchTokens = 2048 } = options
  const feeds = plan.feeds.filter(({ to }) => to.some((path) => block.layers.has(path)))
  const inputs = new BlockInputs(block, { model, feeds, tokens: searchTokens, grams: clip })
  const factors = new Map<Feed, Tensor>()
  try {
    await inputs.collect()
    // Each against the weights as they were, as AutoAWQ does.
    for (const feed of feeds) {
      const best = inputs.reaches(feed) ? await bestFactors(block, feed, inputs, options) : null
      if (best) factors.set(feed, best)
    }
    noGrad(() => {
      for (const [feed, values] of factors) scaleFeed(model, block.edits, feed, values)
    })
    for (const layer of clip ? block.layers.values() : []) {
      if (scoring.has(layer.path)) continue
      const [, values] = [...factors].find(([{ to }]) => to.includes(layer.path)) ?? []
      noGrad(() => scope(() => clipLayer(block, layer, inputs, values)))
      await block.device.sync()
    }
  } finally {
    for (const values of factors.values()) values.dispose()
    inputs.dispose()
  }
}

/** The factors of the grid with the least error; null where the layers saw no rows. */
async function bestFactors(
  block: CalibratedBlock,
  feed: Feed,
  inputs: BlockInputs,
  { grid = 20, duoScaling = true }: AwqOptions,
): Promise<Tensor | null> {
  const layers = inputs.layersOf(feed).filter(({ float }) => isMultiplier(float))
  const moments = inputs.of(feed.to[0])
  const { magnitudes = null, rows = 0 } = moments ?? {}
  if (!magnitudes || layers.length === 0) return null
  const [x, w] = noGrad(() =>
    scope(() => {
      const weights = layers.map(({ float }) => weightRows(float as Multiplier))
      return [
        div(magnitudes, rows),
        duoScaling ? relativeMagnitudes(weights, groupSizeOf(layers[0])) : null,
      ] as const
    }),
  )
  const search = new Search(layers, feed, inputs)
  const errors: Tensor[] = []
  try {
    if (!search.canJudge) return null
    for (let i = 0; i < grid; i++) {
      errors.push(noGrad(() => scope(() => search.error(gridScales(x, w, i / grid)).view([1]))))
      await block.device.sync()
      block.signal?.throwIfAborted()
    }
    using all = scope(() => concat(errors, 0))
    const values = [...(await all.toNumbers())]
    const finite = values.map((value) => (Number.isFinite(value) ? value : Infinity))
    return noGrad(() => gridScales(x, w, finite.indexOf(Math.min(...finite)) / grid))
  } finally {
    search.dispose()
    for (const tensor of [x, w, ...errors]) tensor?.dispose()
  }
}

/** What factors cost the output of a layer, or of the module around several. */
class Search {
  private readonly layers: readonly CalibratedLayer[]
  private readonly feed: Feed
  private readonly inputs: BlockInputs
  private readonly targets: readonly Tensor[]
  /** Of the inputs of a layer that is judged by itself, [K, K]. */
  private readonly grams: Tensor | null

  constructor(layers: readonly CalibratedLayer[], feed: Feed, inputs: BlockInputs) {
    this.layers = layers
    this.feed = feed
    this.inputs = inputs
    const moments = inputs.judgeOf(feed) ? undefined : inputs.of(layers[0].path)
    const K = feed.channels.length
    this.grams = moments?.gramsOf(K)?.view([K, K]) ?? null
    this.targets = noGrad(() => this.outputs())
  }

  /** Whether anything ran whose output is compared. */
  get canJudge(): boolean {
    return this.targets.length > 0 || this.grams !== null
  }

  /** [] float32 */
  error(factors: Tensor): Tensor {
    const rows = this.layers.map(({ float }) => weightRows(float as Multiplier))
    const rounded = this.layers.map((layer, i) => roundedBy(rows[i], factors, roundingOf(layer)))
    if (this.grams) return gramError(rows[0], rounded[0], this.grams)
    const outputs = this.with(rounded, () => this.outputs())
    return outputs.map((y, i) => outputError(this.targets[i], y)).reduce((sum, error) => add(sum, error))
  }

  private outputs(): Tensor[] {
    const judge = this.inputs.judgeOf(this.feed)
    return judge ? this.inputs.callsOf(this.feed).map(({ args }) => scope(() => judge.forward(...args))) : []
  }

  /** Runs `body` with these weights in the places of the layers'. */
  private with<R>(rounded: readonly Tensor[], body: () => R): R {
    const floats = this.layers.map(({ float }) => float as Multiplier)
    const before = floats.map(({ weight }) => weight)
    try {
      for (const [i, float] of floats.entries()) float.weight = storedWeight(float, rounded[i])
      return body()
    } finally {
      for (const [i, float] of floats.entries()) float.weight = before[i]
    }
  }

  dispose(): void {
    this.grams?.dispose()
    for (const target of this.targets) target.dispose()
  }
}

function clipLayer(
  block: CalibratedBlock,
  layer: CalibratedLayer,
  inputs: BlockInputs,
  factors: Tensor | undefined,
): void {
  const { float, path } = layer
  const G = groupSizeOf(layer)
  const grams = inputs.of(path)?.gramsOf(G, factors)
  if (!grams || !isMultiplier(float)) return
  const rows = weightRows(float)
  putWeightRows(block.edits, float, clipped(rows, clipLimits(rows, grams, roundingOf(layer)), G))
}

/** What rows of weights become as the layer is to be quantized: whole rows, or groups of them. */
function roundingOf({ twin }: CalibratedLayer): Rounding {
  const { qtype, groupSize, quantizer, ...scales } = twin.quantization
  return (rows) => {
    const columns = rows.shape[1]
    return fakeQuantizeWeight(rows, qtype, Math.min(groupSize ?? columns, columns), quantizer, null, scales)
  }
}
