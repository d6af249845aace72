import { DTypeError, ShapeError } from '../core/errors.ts'
import {
  aBoolean,
  above,
  aFunction,
  anIterable,
  check,
  instanceOf,
  isObject,
  wholeNumber,
} from '../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../core/options.ts'
import { backward } from '../tensor/backward.ts'
import { scope } from '../tensor/scope.ts'
import { copyTo, Tensor } from '../tensor/tensor.ts'
import { type ClassTargets, withTargets, wrongTarget } from './classTargets.ts'
import { aModule, type Module } from './module.ts'
import { clipGradNorm } from './optim/clip.ts'
import type { ParameterOptimizer, StepSettings } from './optim/optimizer.ts'
import { Schedule } from './optim/schedules.ts'
import { Watch } from './watch.ts'

/** What `trainEpoch` does with each batch. */
export interface TrainOptions<Batch> {
  optimizer: Pick<ParameterOptimizer<StepSettings>, 'step' | 'zeroGrad'>
  /** The loss of one batch, one value. */
  loss: (batch: Batch) => Tensor
  /** Takes a step after every batch. */
  schedule?: Schedule
  /** Gradients are scaled down to this norm. */
  clipNorm?: number
  /**
   * Whether every output and gradient is checked after every step, to say which was first not finite; slow.
   * Default false.
   */
  detectAnomaly?: boolean
  /** Steps between two reads of their losses; default 50. */
  checkEvery?: number
  /** Called after each read with the number of steps taken and the last loss; a promise is awaited. */
  onProgress?: (steps: number, loss: number) => void | Promise<void>
}

const optionKinds: OptionKinds<TrainOptions<never>> = {
  optimizer: required({
    must: 'be an optimizer such as SGD',
    holds: (value) => isObject(value) && 'step' in value && 'zeroGrad' in value,
  }),
  loss: required(aFunction),
  schedule: instanceOf(Schedule, 'be a schedule such as StepLR'),
  clipNorm: above(0),
  detectAnomaly: aBoolean,
  checkEvery: wholeNumber(1),
  onProgress: aFunction,
}

/**
 * One pass over the batches: for each, loss, gradients and a step of the optimizer; the model in training
 * mode. Losses stay on the device and are read every `checkEvery` steps, so that the queue never runs empty.
 * @returns the loss of every step
 * @throws DTypeError once a loss is not finite: at which step, which target was out of range, and with
 * `detectAnomaly` what was first
 */
export async function trainEpoch<Batch>(
  model: Module,
  batches: AsyncIterable<Batch> | Iterable<Batch>,
  options: TrainOptions<Batch>,
): Promise<Float64Array> {
  check('trainEpoch', 'model', model, aModule)
  check('trainEpoch', 'batches', batches, anIterable)
  checkOptions<TrainOptions<never>>('trainEpoch', options, optionKinds)
  const { optimizer, loss, schedule, clipNorm, detectAnomaly = false, onProgress } = options
  const checkEvery = detectAnomaly ? 1 : (options.checkEvery ?? 50)
  const losses: number[] = []
  const watch = detectAnomaly ? new Watch(model) : null
  let waiting: Tensor | null = null
  let count = 0
  /** Class targets of the steps since the last read. */
  let taken: ClassTargets[][] = []

  const forget = () => {
    for (const { targets } of taken.flat()) targets.dispose()
    taken = []
  }
  const readLosses = async () => {
    if (!waiting || count === 0) return
    const values = [...(await waiting.toNumbers())].slice(0, count)
    const bad = values.findIndex((value) => !Number.isFinite(value))
    const cause = (bad >= 0 && (await wrongTarget(taken[bad]))) || (await watch?.firstNotFinite())
    if (bad >= 0 || cause) {
      const advice =
        cause ?? (watch ? 'every output was finite' : 'detectAnomaly tells which layer was first')
      throw new DTypeError(
        `trainEpoch: loss and gradients must be finite; the loss of step ${losses.length + Math.max(bad, 0) + 1} is ${values[Math.max(bad, 0)]}: ${advice}`,
      )
    }
    losses.push(...values)
    count = 0
    forget()
    await onProgress?.(losses.length, values[values.length - 1])
  }

  model.train()
  try {
    for await (const batch of batches) {
      optimizer.zeroGrad()
      const { result: value, taken: targets } = withTargets(() => backward(() => loss(batch)))
      taken.push(targets)
      watch?.noteGradients()
      waiting ??= Tensor.empty(value.device, [checkEvery])
      const slot = waiting.rows(count, ++count)
      copyTo(value, slot)
      slot.dispose()
      value.dispose()
      scope(() => {
        if (clipNorm !== undefined) clipGradNorm(model.parameters(), clipNorm)
        optimizer.step()
      })
      schedule?.step()
      if (count === checkEvery) await readLosses()
    }
    await readLosses()
  } finally {
    optimizer.zeroGrad()
    forget()
    watch?.end()
    ;(waiting as Tensor | null)?.dispose()
  }
  if (losses.length === 0)
    throw new ShapeError('trainEpoch: there must be a batch to train on; received none')
  return Float64Array.from(losses)
}
