import { ShapeError } from '../../core/errors.ts'
import type { StepSettings } from './optimizer.ts'

/** What a schedule needs of an optimizer: the groups whose learning rates it sets. */
export interface Scheduled {
  readonly paramGroups: readonly StepSettings[]
}

/**
 * Sets the learning rate of each group to a function of how often `step` was called, from the group's rate at the beginning on.
 * One schedule an optimizer. Source: torch.optim.lr_scheduler, in closed form.
 */
export abstract class Schedule {
  protected readonly optimizer: Scheduled
  protected readonly baseLrs: number[]
  /** How often `step` was called. */
  lastEpoch = 0

  constructor(optimizer: Scheduled) {
    this.optimizer = optimizer
    this.baseLrs = optimizer.paramGroups.map(({ lr }) => lr)
  }

  /** The rate after `epoch` steps of the group whose first rate was `base`. */
  protected abstract lrAt(epoch: number, base: number, group: number): number

  /** Called by the constructor of every schedule, and after every step. */
  protected apply(): void {
    for (const [i, group] of this.optimizer.paramGroups.entries()) group.lr = this.lrAt(this.lastEpoch, this.baseLrs[i], i)
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
      throw new ShapeError(`loadStateDict: there must be ${this.baseLrs.length} rates, one a group; received ${baseLrs.length}`)
    this.lastEpoch = lastEpoch
    this.baseLrs.splice(0, baseLrs.length, ...baseLrs)
    this.apply()
  }
}

/** lr = base · f(epoch), f one function or one for each group. */
export class LambdaLR extends Schedule {
  private readonly factors: readonly ((epoch: number) => number)[]

  constructor(optimizer: Scheduled, lrLambda: ((epoch: number) => number) | readonly ((epoch: number) => number)[]) {
    super(optimizer)
    this.factors = typeof lrLambda === 'function' ? this.baseLrs.map(() => lrLambda) : lrLambda
    if (this.factors.length !== this.baseLrs.length)
      throw new ShapeError(`LambdaLR: there must be ${this.baseLrs.length} functions, one a group; received ${this.factors.length}`)
    this.apply()
  }

  protected override lrAt(epoch: number, base: number, group: number): number {
    return base * this.factors[group](epoch)
  }
}

/** lr = base · gamma^⌊epoch / stepSize⌋. */
export class StepLR extends LambdaLR {
  constructor(optimizer: Scheduled, { stepSize, gamma = 0.1 }: { stepSize: number; gamma?: number }) {
    checkCount('StepLR', 'stepSize', stepSize)
    super(optimizer, (epoch) => gamma ** Math.floor(epoch / stepSize))
  }
}

/** lr = base · gamma^(milestones that were reached). */
export class MultiStepLR extends LambdaLR {
  constructor(optimizer: Scheduled, { milestones, gamma = 0.1 }: { milestones: readonly number[]; gamma?: number }) {
    super(optimizer, (epoch) => gamma ** milestones.filter((milestone) => milestone <= epoch).length)
  }
}

/** lr = base · gamma^epoch. */
export class ExponentialLR extends LambdaLR {
  constructor(optimizer: Scheduled, { gamma }: { gamma: number }) {
    super(optimizer, (epoch) => gamma ** epoch)
  }
}

/** lr = base · (from startFactor to endFactor in totalIters steps, then constant). */
export class LinearLR extends LambdaLR {
  constructor(
    optimizer: Scheduled,
    { startFactor = 1 / 3, endFactor = 1, totalIters = 5 }: { startFactor?: number; endFactor?: number; totalIters?: number } = {},
  ) {
    checkCount('LinearLR', 'totalIters', totalIters)
    super(optimizer, (epoch) => startFactor + ((endFactor - startFactor) * Math.min(epoch, totalIters)) / totalIters)
  }
}

/**
 * lr = etaMin + (base − etaMin) · (1 + cos(π · epoch / tMax)) / 2.
 * Source: Loshchilov, Hutter, "SGDR", 2017, equation 5, without restarts.
 */
export class CosineAnnealingLR extends Schedule {
  private readonly tMax: number
  private readonly etaMin: number

  constructor(optimizer: Scheduled, { tMax, etaMin = 0 }: { tMax: number; etaMin?: number }) {
    super(optimizer)
    checkCount('CosineAnnealingLR', 'tMax', tMax)
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

/** @throws ShapeError unless a number of steps is a positive integer */
export function checkCount(schedule: string, option: string, value: number): void {
  if (!(Number.isInteger(value) && value > 0)) throw new ShapeError(`${schedule}: ${option} must be a positive integer; received ${value}`)
}
