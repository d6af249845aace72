import { ShapeError } from '../../core/errors.ts'
import type { CausalLM } from '../../models/causalLM.ts'
import type { Module } from '../../nn/module.ts'
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
 * model is afterwards as before.
 */
export class LayerDivergences {
  readonly float: CausalLM
  private readonly ids: readonly number[]
  private readonly logits: Tensor

  /** @throws ShapeError unless there are two tokens at least */
  constructor(float: CausalLM, ids: readonly number[]) {
    if (ids.length < 2)
      throw new ShapeError(`inspect: the text must have two tokens at least; received ${ids.length}`)
    this.float = float
    this.ids = ids
    this.logits = this.forward(float)
  }

  /** With the layers that are given in the place of the model's own. */
  async with(replacements: ReadonlyMap<Module, Module>): Promise<Divergence> {
    const { float } = this
    float.replaceModules(replacements)
    let changed: Tensor
    try {
      changed = this.forward(float)
    } finally {
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

  /**
   * With one layer at a time, by path.
   * @param until performance.now() from which no more layers are measured
   */
  async each(
    replacements: ReadonlyMap<string, Module>,
    { signal, onProgress, until = Infinity }: LayerProgress & { until?: number } = {},
  ): Promise<Map<string, Divergence>> {
    const measured = new Map<string, Divergence>()
    for (const [path, module] of replacements) {
      signal?.throwIfAborted()
      if (performance.now() > until) break
      measured.set(path, await this.with(new Map([[this.float.getModule(path), module]])))
      onProgress?.(measured.size, replacements.size)
    }
    return measured
  }

  dispose(): void {
    this.logits.dispose()
  }

  /** Logits [T, V]. */
  private forward(model: CausalLM): Tensor {
    const { ids } = this
    return noGrad(() => scope(() => keep(model.forward(ids).view([ids.length, model.config.vocabularySize]))))
  }
}
