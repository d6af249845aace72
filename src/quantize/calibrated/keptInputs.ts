import type { Module } from '../../nn/module.ts'
import { type Observation, shadow } from '../../nn/observe.ts'
import { keep } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { CalibratedLayer } from './algorithm.ts'
import type { HiddenStates } from './hiddenStates.ts'
import type { LayerGroup } from './stage.ts'

/** The inputs of a layer, a sample each, and the module that gives what the layer gives. */
interface Kept {
  readonly layer: CalibratedLayer
  readonly gives: Module
  readonly inputs: HiddenStates
}

/** What stands in the shadow of kept inputs while a sample passes. */
export interface Answers {
  /** Ends it, and gives the inputs back. */
  end(): void
}

/**
 * The inputs of layers whose outputs are those of the module that they stand in: an attention's or an MLP's
 * last projection. Once such a layer is solved, its input does not change any more: in the passes that follow
 * the module gives what the layer makes of it, and nothing that comes before the layer is computed again.
 */
export class KeptInputs {
  private readonly createStates: (() => HiddenStates) | null
  private readonly all: Kept[] = []
  /** What the layer took that was added last, in the pass that runs. */
  private taken: Tensor | null = null

  /** @param createStates null where nothing is to be kept */
  constructor(createStates: (() => HiddenStates) | null) {
    this.createStates = createStates
  }

  /**
   * From the passes that come, keeps what the layer of a group takes, until the observation ends; null where
   * that would answer nothing.
   * @param module the layer as it stands in the model
   */
  add({ layers: [layer], gives }: LayerGroup, module: Module): Observation | null {
    const { quantizer } = layer.twin.quantization
    if (!this.createStates || !gives || !quantizer.collects || !layer.twin.inputRows) return null
    this.all.push({ layer, gives, inputs: this.createStates() })
    return module.observe({
      input: ([x]) => {
        if (x instanceof Tensor) this.taken = keep(x.view(x.shape))
      },
    })
  }

  /** Keeps what the layer took that was added last. */
  async put(sample: number): Promise<void> {
    const { taken } = this
    this.taken = null
    if (taken)
      await this.all
        .at(-1)
        ?.inputs.put(sample, taken)
        .finally(() => taken.dispose())
  }

  /** Puts modules into the shadow of what is kept of a sample. */
  async answers(sample: number): Promise<Answers> {
    const ends: (() => void)[] = []
    for (const { layer, gives, inputs } of this.all) {
      const x = await inputs.get(sample)
      if (!x) continue
      const unshadow = shadow(gives, () => layer.twin.forward(x))
      ends.push(() => {
        unshadow()
        x.dispose()
      })
    }
    return {
      end: () => {
        for (const end of ends) end()
      },
    }
  }

  /** Keeps nothing any more. */
  clear(): void {
    this.taken?.dispose()
    this.taken = null
    for (const { inputs } of this.all) inputs.dispose()
    this.all.length = 0
  }
}
