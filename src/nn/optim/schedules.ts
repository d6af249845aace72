import { ShapeError } from '../../core/errors.ts'
import {
  aFunction,
  aNumber,
  check,
  either,
  isObject,
  type Kind,
  listOf,
  wholeNumber,
} from '../../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../../core/options.ts'
import type { StepSettings } from './optimizer.ts'

/** What a schedule needs of an optimizer: the groups whose learning rates it sets. */
export interface Scheduled {
  readonly paramGroups: readonly StepSettings[]
}

const scheduled: Kind = {
  must: 'be an optimizer such as SGD',
  holds: (value) => isObject(value) && Array.isArray(value.paramGroups),
}

/** A number of steps. */
export const steps = wholeNumber(1)

/**
 * Sets the learning rate of each group to a function of how often `step` was called, from the group's rate at
 * the beginning on. One schedule an optimizer. Source: torch.optim.lr_scheduler, in closed form.
 */
export abstract class Schedule {
  protected readonly optimizer: Scheduled
  protected readonly baseLrs: number[]
  /** How often `step` was called. */
  lastEpoch = 0

  constructor(optimizer: Scheduled) {
    check(new.target.name, 'optimizer', optimizer, scheduled)
    this.optimizer = optimizer
    this.baseLrs = optimizer.paramGroups.map(({ lr }) => lr)
  }

  /** The rate after `epoch` steps of the group whose first rate was `base`. */
  protected abstract lrAt(epoch: number, base: number, group: number): number

  /** Called by the constructor of every schedule, and after every step. */
  protected apply(): void {
    for (const [i, group] of this.optimizer.paramGroups.entries())
      group.lr = this.lrAt(this.lastEpoch, this.baseLrs[i], i)
  }

  /** After every epoch, or every batch for schedules that count batches: the next learning rate. */
  step(): void {
    this.lastEpoch++
    this.apply()
  }

  /** The rate of each group now. */
  getLastLr(): number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr)
  }

  stateDict(): { lastEpoch: number; baseLrs: number[] } {
    return { lastEpoch: this.lastEpoch, baseLrs: [...this.baseLrs] }
  }

  /** @throws ShapeError if the number of groups differs */
  loadStateDict({ lastEpoch, baseLrs }: { lastEpoch: number; baseLrs: readonly number[] }): void {
    if (baseLrs.length !== this.baseLrs.length)
      throw new ShapeError(
        `loadStateDict: there must be ${this.baseLrs.length} rates, one a group; received ${baseLrs.length}`,
      )
    this.lastEpoch = lastEpoch
    this.baseLrs.splice(0, baseLrs.length, ...baseLrs)
    this.apply()
  }
}

/** lr = base · f(epoch), f one function or one for each group. */
export class LambdaLR extends Schedule {
  private readonly factors: readonly ((epoch: number) => number)[]

  constructor(
    optimizer: Scheduled,
    lrLambda: ((epoch: number) => number) | readonly ((epoch: number) => number)[],
  ) {
    super(optimizer)
    check(
      new.target.name,
      'lrLambda',
      lrLambda,
      either('be a function, or a list of one for each group', aFunction, listOf('functions', aFunction)),
    )
    this.factors = typeof lrLambda === 'function' ? this.baseLrs.map(() => lrLambda) : lrLambda
    if (this.factors.length !== this.baseLrs.length)
      throw new ShapeError(
        `LambdaLR: there must be ${this.baseLrs.length} functions, one a group; received ${this.factors.length}`,
      )
    this.apply()
  }

  protected override lrAt(epoch: number, base: number, group: number): number {
    return base * this.factors[group](epoch)
  }
}

/** When and how much the rate falls. */
export interface StepLROptions {
  stepSize: number
  /** Default 0.1. */
  gamma?: number
}

const stepKinds: OptionKinds<StepLROptions> = { stepSize: required(steps), gamma: aNumber }

/** lr = base · gamma^⌊epoch / stepSize⌋. */
export class StepLR extends LambdaLR {
  constructor(optimizer: Scheduled, options: StepLROptions) {
    checkOptions('StepLR', options, stepKinds)
    const { stepSize, gamma = 0.1 } = options
    super(optimizer, (epoch) => gamma ** Math.floor(epoch / stepSize))
  }
}

/** When and how much the rate falls. */
export interface MultiStepLROptions {
  milestones: readonly number[]
  /** Default 0.1. */
  gamma?: number
}

const multiStepKinds: OptionKinds<MultiStepLROptions> = {
  milestones: required(listOf('whole numbers', wholeNumber(0))),
  gamma: aNumber,
}

/** lr = base · gamma^(milestones that were reached). */
export class MultiStepLR extends LambdaLR {
  constructor(optimizer: Scheduled, options: MultiStepLROptions) {
    checkOptions('MultiStepLR', options, multiStepKinds)
    const { milestones, gamma = 0.1 } = options
    super(optimizer, (epoch) => gamma ** milestones.filter((milestone) => milestone <= epoch).length)
  }
}

/** lr = base · gamma^epoch. */
export class ExponentialLR extends LambdaLR {
  constructor(optimizer: Scheduled, options: { gamma: number }) {
    checkOptions('ExponentialLR', options, { gamma: required(aNumber) })
    const { gamma } = options
    super(optimizer, (epoch) => gamma ** epoch)
  }
}

/** From which factor to which, and in how many steps. */
export interface LinearLROptions {
  /** Default 1/3. */
  startFactor?: number
  /** Default 1. */
  endFactor?: number
  /** Default 5. */
  totalIters?: number
}

const linearKinds: OptionKinds<LinearLROptions> = {
  startFactor: aNumber,
  endFactor: aNumber,
  totalIters: steps,
}

/** lr = base · (from startFactor to endFactor in totalIters steps, then constant). */
export class LinearLR extends LambdaLR {
  constructor(optimizer: Scheduled, options: LinearLROptions = {}) {
    checkOptions('LinearLR', options, linearKinds)
    const { startFactor = 1 / 3, endFactor = 1, totalIters = 5 } = options
    super(
      optimizer,
      (epoch) => startFactor + ((endFactor - startFactor) * Math.min(epoch, totalIters)) / totalIters,
    )
  }
}

/** How many steps the rate falls, and to what. */
export interface CosineAnnealingLROptions {
  tMax: number
  /** Default 0. */
  etaMin?: number
}

const cosineKinds: OptionKinds<CosineAnnealingLROptions> = { tMax: required(steps), etaMin: aNumber }

/**
 * lr = etaMin + (base − etaMin) · (1 + cos(π · epoch / tMax)) / 2.
 * Source: Loshchilov, Hutter, "SGDR", 2017, equation 5, without restarts.
 */
export class CosineAnnealingLR extends Schedule {
  private readonly tMax: number
  private readonly etaMin: number

  constructor(optimizer: Scheduled, options: CosineAnnealingLROptions) {
    checkOptions('CosineAnnealingLR', options, cosineKinds)
    super(optimizer)
    const { tMax, etaMin = 0 } = options
    this.tMax = tMax
    this.etaMin = etaMin
    this.apply()
  }

  protected override lrAt(epoch: number, base: number): number {
    return cosine(base, this.etaMin, epoch / this.tMax)
  }
}

/** From `start` at 0 to `end` at 1 along half a cosine. */
export function cosine(start: number, end: number, fraction: number): number {
  return end + ((start - end) * (1 + Math.cos(Math.PI * fraction))) / 2
}
