import { ShapeError } from '../../core/errors.ts'
import type { CausalLM } from '../../models/causalLM.ts'
import { DecoderLM } from '../../models/decoderLM.ts'
import type { Module } from '../../nn/module.ts'
import { type Observation, shadow } from '../../nn/observe.ts'
import { crossEntropy, klDivergence, mean } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'

/** How a measurement of many layers is followed, and ended. */
export interface LayerProgress {
  /** Ends the measurement between two layers, with its reason. */
  signal?: AbortSignal
  onProgress?: (done: number, total: number) => void
}

/** What a model with other layers in place guesses, beside the model as it is. */
export interface Divergence {
  /** Mean KL(float ‖ changed) over all tokens of the text, in nats. */
  klDivergence: number
  /** exp of the mean negative log-likelihood of its tokens but the first. */
  perplexity: number
}

/**
 * Measures a float model on one window of text with some of its layers replaced, one set after the other; the
 * model is afterwards as before. What decoder layers take is kept, so that a pass begins where the first
 * replaced layer stands: memory for T · hidden · layers values.
 */
export class LayerDivergences {
  readonly float: CausalLM
  private readonly ids: readonly number[]
  private readonly logits: Tensor
  /** Decoder layers, and what each takes of the text, [1, T, hidden]. */
  private readonly layers: readonly Module[]
  private readonly inputs: Tensor[] = []
  /** Which of them a module of the float model stands in. */
  private readonly places: ReadonlyMap<Module, number>

  /** @throws ShapeError unless there are two tokens at least */
  constructor(float: CausalLM, ids: readonly number[]) {
    if (ids.length < 2)
      throw new ShapeError(`inspect: the text must have two tokens at least; received ${ids.length}`)
    this.float = float
    this.ids = ids
    this.layers = float instanceof DecoderLM ? [...float.decoder.layers] : []
    this.places = new Map(
      this.layers.flatMap((layer, i) => [...layer.namedModules()].map(([, module]) => [module, i] as const)),
    )
    const kept = this.layers.map((layer, i) =>
      shadow(layer, (forward, args) => {
        const x = args[0] as Tensor
        this.inputs[i] = keep(x.view(x.shape))
        return forward(...args)
      }),
    )
    try {
      this.logits = this.forward(float)
    } finally {
      for (const end of kept) end()
    }
  }

  /** With the layers that are given in the place of the model's own. */
  async with(replacements: ReadonlyMap<Module, Module>): Promise<Divergence> {
    const { float } = this
    const first = Math.min(...[...replacements.keys()].map((layer) => this.places.get(layer) ?? -1))
    float.replaceModules(replacements)
    const skipped = this.skipTo(first)
    let changed: Tensor
    try {
      changed = this.forward(float)
    } finally {
      for (const end of skipped) end()
      float.replaceModules(new Map([...replacements].map(([layer, other]) => [other, layer])))
    }
    return this.divergence(changed)
  }

  /** Of another model of the same vocabulary. */
  async withModel(model: CausalLM): Promise<Divergence> {
    return this.divergence(this.forward(model))
  }

  private async divergence(changed: Tensor): Promise<Divergence> {
    const { float, logits, ids } = this
    const [kl, nll] = scope(() => {
      const guesses = changed.rows(0, ids.length - 1)
      const targets = Tensor.fromArray(float.device, Int32Array.from(ids.slice(1)), [ids.length - 1])
      return [mean(klDivergence(logits, changed)), mean(crossEntropy(guesses, targets))]
    })
    changed.dispose()
    const [[divergence], [likelihood]] = [await kl.toNumbers(), await nll.toNumbers()]
    kl.dispose()
    nll.dispose()
    return { klDivergence: Math.max(0, Number(divergence)), perplexity: Math.exp(Number(likelihood)) }
  }

  /** Lets decoder layer `place` take what it takes of the float model, and those before it compute nothing. */
  private skipTo(place: number): Observation[] {
    const layer = this.layers[place]
    if (!layer) return []
    return [
      ...this.layers.slice(0, place).map((before) => shadow(before, (_, [x]) => x)),
      shadow(layer, (forward, [, ...rest]) => forward(this.inputs[place], ...rest)),
    ]
  }

  /**
   * With one layer at a time, by path.
   * @param until performance.now() from which no more layers are measured; those that are lie evenly apart
   */
  async each(
    replacements: ReadonlyMap<string, Module>,
    { signal, onProgress, until = Infinity }: LayerProgress & { until?: number } = {},
  ): Promise<Map<string, Divergence>> {
    const measured = new Map<string, Divergence>()
    for (const [path, module] of spread([...replacements])) {
      signal?.throwIfAborted()
      if (performance.now() > until) break
      measured.set(path, await this.with(new Map([[this.float.getModule(path), module]])))
      onProgress?.(measured.size, replacements.size)
    }
    const inOrder = [...replacements.keys()].filter((path) => measured.has(path))
    return new Map(inOrder.map((path) => [path, measured.get(path) as Divergence]))
  }

  dispose(): void {
    this.logits.dispose()
    for (const x of this.inputs) x.dispose()
  }

  /** Logits [T, V]. */
  private forward(model: CausalLM): Tensor {
    const { ids } = this
    return noGrad(() => scope(() => keep(model.forward(ids).view([ids.length, model.config.vocabularySize]))))
  }
}

/** The same values in an order in which those of any beginning lie evenly apart. */
function spread<T>(values: readonly T[]): T[] {
  // By the golden ratio each falls into the largest gap.
  const order = values.map((_, i) => ((i + 1) * (Math.sqrt(5) - 1)) / 2)
  const ranks = order.map((turn, i) => ({ at: turn % 1, i })).sort((a, b) => a.at - b.at)
  const places = new Array<number>(values.length)
  for (const [rank, { i }] of ranks.entries()) places[i] = rank
  return places.map((place) => values[place])
}
