import { ShapeError } from '../../core/errors.ts'
import { aBoolean, above, aNumber, either, listOf, oneOf, within } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../../core/options.ts'
import type { AdamSettings } from './adam.ts'
import type { StepSettings } from './optimizer.ts'
import { cosine, Schedule, type Scheduled, steps } from './schedules.ts'

/** The settings of torch.optim.lr_scheduler.OneCycleLR. */
export interface OneCycleOptions {
  /** The highest rate, one for all groups or one for each. */
  maxLr: number | readonly number[]
  totalSteps: number
  /** The part of the steps in which the rate rises; default 0.3. */
  pctStart?: number
  /** Default `cos`. */
  annealStrategy?: 'cos' | 'linear'
  /** Whether momentum (or β₁) falls while the rate rises; default true. */
  cycleMomentum?: boolean
  /** Default 0.85. */
  baseMomentum?: number
  /** Default 0.95. */
  maxMomentum?: number
  /** The first rate is maxLr / divFactor; default 25. */
  divFactor?: number
  /** The last rate is the first / finalDivFactor; default 1e4. */
  finalDivFactor?: number
}

const optionKinds: OptionKinds<OneCycleOptions> = {
  maxLr: required(
    either('be a number, or a list of one for each group', aNumber, listOf('numbers', aNumber)),
  ),
  totalSteps: required(steps),
  pctStart: within(0, 1),
  annealStrategy: oneOf('cos', 'linear'),
  cycleMomentum: aBoolean,
  baseMomentum: aNumber,
  maxMomentum: aNumber,
  divFactor: above(0),
  finalDivFactor: above(0),
}

type Momentous = StepSettings & { momentum?: number; betas?: AdamSettings['betas'] }

/**
 * The rate rises from maxLr / divFactor to maxLr and falls to almost nothing, momentum the other way; a step
 * a batch.
 * Source: Smith, Topin, "Super-Convergence", 2019, as torch.optim.lr_scheduler.OneCycleLR (two phases).
 */
export class OneCycleLR extends Schedule {
  private readonly options: Required<OneCycleOptions>
  private readonly maxLrs: readonly number[]

  constructor(optimizer: Scheduled, options: OneCycleOptions) {
    checkOptions('OneCycleLR', options, optionKinds)
    super(optimizer)
    const defaults = {
      pctStart: 0.3,
      annealStrategy: 'cos',
      cycleMomentum: true,
      baseMomentum: 0.85,
      maxMomentum: 0.95,
    } as const
    this.options = { ...defaults, divFactor: 25, finalDivFactor: 1e4, ...options }
    const { maxLr, cycleMomentum } = this.options
    this.maxLrs = typeof maxLr === 'number' ? this.baseLrs.map(() => maxLr) : maxLr
    if (this.maxLrs.length !== this.baseLrs.length)
      throw new ShapeError(
        `OneCycleLR: maxLr must have ${this.baseLrs.length} rates, one a group; received ${this.maxLrs.length}`,
      )
    const still = (this.optimizer.paramGroups as readonly Momentous[]).some(
      ({ momentum, betas }) => !momentum && !betas,
    )
    if (cycleMomentum && still)
      throw new ShapeError('OneCycleLR: cycleMomentum needs momentum or betas; received an optimizer without')
    this.apply()
  }

  /** @throws ShapeError after totalSteps − 1 steps */
  override step(): void {
    const { totalSteps } = this.options
    if (this.lastEpoch + 1 >= totalSteps)
      throw new ShapeError(`OneCycleLR: there are ${totalSteps} rates; received step ${totalSteps}`)
    super.step()
  }

  protected override apply(): void {
    super.apply()
    const { cycleMomentum, maxMomentum, baseMomentum } = this.options
    if (!cycleMomentum) return
    const momentum = this.between(this.lastEpoch, maxMomentum, baseMomentum, maxMomentum)
    for (const group of this.optimizer.paramGroups as readonly Momentous[]) {
      if (group.betas) group.betas = [momentum, group.betas[1]]
      else group.momentum = momentum
    }
  }

  protected override lrAt(epoch: number, _base: number, group: number): number {
    const max = this.maxLrs[group]
    const first = max / this.options.divFactor
    return this.between(epoch, first, max, first / this.options.finalDivFactor)
  }

  /** From `first` to `top` in the first phase, to `last` in the second. */
  private between(step: number, first: number, top: number, last: number): number {
    const { pctStart, totalSteps, annealStrategy } = this.options
    const peak = pctStart * totalSteps - 1
    const end = totalSteps - 1
    const anneal =
      annealStrategy === 'cos'
        ? cosine
        : (start: number, stop: number, fraction: number) => start + (stop - start) * fraction
    return step <= peak ? anneal(first, top, step / peak) : anneal(top, last, (step - peak) / (end - peak))
  }
}
