import { DTypeError, ShapeError } from '../../core/errors.ts'
import { type Observation, shadow } from '../../nn/observe.ts'
import { scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { explain, nonFinite } from './finite.ts'
import type { HiddenStates } from './hiddenStates.ts'
import { KeptInputs } from './keptInputs.ts'
import type { LayerInputs } from './layerInputs.ts'
import { endPass, type SampleArguments, type Stage } from './stage.ts'

/** What a stream is told of the run. */
export interface StreamOptions {
  readonly samples: readonly SampleArguments[]
  /** What the next stage takes of each sample. */
  readonly states: HiddenStates
  /** Keeps what solved layers take, where that does not change any more; see KeptInputs. */
  readonly keep: (() => HiddenStates) | null
  /** Whether layers that are quantized already compute as they did before. */
  readonly float: boolean
  /** Called after each sample; may end the run. */
  readonly step: () => Promise<void>
}

/** What is done while samples pass. */
export interface Passes {
  /** Before each of them. */
  before?: (sample: number) => Promise<void>
  /** After each of them, with what the stage gave. */
  after?: (sample: number, y: unknown) => Promise<void>
  /** Only the first ones. */
  count?: number
}

/** The samples on their way through a model, stage by stage. */
export class Stream {
  /** Of the stage that is being solved, so that its solved layers need not be computed in each pass. */
  readonly kept: KeptInputs
  private readonly options: StreamOptions

  constructor(options: StreamOptions) {
    this.options = options
    this.kept = new KeptInputs(options.keep)
  }

  /** What the stage takes of a sample; the caller's. */
  input(sample: number): Promise<Tensor | null> {
    return this.options.states.get(sample)
  }

  /** What a stage gives for x; of the running scope. */
  compute(stage: Stage, sample: number, x: Tensor | null): unknown {
    return stage.forward(this.options.samples[sample], x)
  }

  /** One sample passes through a stage as it is; what it gives is the caller's. */
  async pass(stage: Stage, sample: number): Promise<unknown> {
    const x = await this.input(sample)
    const floats = this.options.float ? floatsOf(stage) : []
    const answers = await this.kept.answers(sample)
    try {
      return noGrad(() => scope(() => this.compute(stage, sample, x)))
    } finally {
      for (const end of floats) end()
      answers.end()
      x?.dispose()
    }
  }

  /** Samples pass through a stage, and stay before it. */
  async through(stage: Stage, { before, after, count }: Passes = {}): Promise<void> {
    for (let i = 0; i < (count ?? this.options.samples.length); i++) {
      await before?.(i)
      const y = await this.pass(stage, i)
      try {
        await after?.(i, y)
      } finally {
        if (y instanceof Tensor) y.dispose()
      }
      await this.options.step()
    }
  }

  /**
   * All samples pass on: what the stage gives is what the next one takes.
   * @throws DTypeError if that is not finite, with the sample and the module that made it so
   */
  async advance(stage: Stage): Promise<void> {
    const after = async (i: number, y: unknown) => {
      if (!(y instanceof Tensor))
        throw new ShapeError(
          `quantizeCalibrated: every sample must reach every block; sample ${i} did not reach ${stage.path || 'the first'}`,
        )
      if (!(await this.options.states.put(i, y))) throw await this.cause(stage, i)
    }
    await this.through(stage, { after })
    this.kept.clear()
  }

  /**
   * Keeps of a stage that an earlier run solved what would have been kept then, so that it gives the same to
   * the bit.
   */
  async recall(stage: Stage): Promise<void> {
    for (const group of stage.groups) {
      const [{ twin }] = group.layers
      const keeping = this.kept.add(group, twin)
      if (!keeping) continue
      const end = twin.observe({ input: endPass })
      try {
        await this.through(stage, { after: (i) => this.kept.put(i) })
      } finally {
        end()
        keeping()
      }
    }
  }

  /** @throws DTypeError if what was collected in a stage is not finite, with what made it so */
  async checkFinite(stage: Stage, collected: readonly LayerInputs[]): Promise<void> {
    const wrong = await nonFinite(collected)
    if (wrong)
      await this.blame(
        stage,
        `statistics must be finite; those of the inputs of ${wrong.group[0].path} are not`,
      )
  }

  /** @throws DTypeError always: with the sample and the module that made values which are not finite, or that */
  async blame(stage: Stage, otherwise: string): Promise<never> {
    for (let i = 0; i < this.options.samples.length; i++) {
      const cause = await this.cause(stage, i)
      if (cause) throw cause
    }
    throw new DTypeError(`quantizeCalibrated: ${otherwise}`)
  }

  private async cause(stage: Stage, sample: number): Promise<DTypeError | null> {
    const x = await this.input(sample)
    return explain(stage, sample, this.options.samples[sample], x).finally(() => x?.dispose())
  }
}

/** Twins that stand in the model already compute as their float layers do. */
function floatsOf({ layers }: Stage): Observation[] {
  return layers.map(({ float, twin }) => shadow(twin, (_, args) => float.forward(...(args as [Tensor]))))
}
