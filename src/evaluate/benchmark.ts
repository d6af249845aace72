import { ShapeError } from '../core/errors.ts'
import { aList, aSignal, check, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { aModule, type Module } from '../nn/module.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { heldIn } from '../tensor/held.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { median } from './median.ts'

/** How long `benchmark` measures. */
export interface BenchmarkOptions {
  /** Forward passes that are timed; default 20. */
  runs?: number
  /** Forward passes before them, which are not; default 3. */
  warmup?: number
  signal?: AbortSignal
}

const optionKinds: OptionKinds<BenchmarkOptions> = {
  runs: wholeNumber(1),
  warmup: wholeNumber(0),
  signal: aSignal,
}

/** What `benchmark` measured: milliseconds of a forward pass, and memory. */
export interface BenchmarkResult {
  runs: number
  medianMs: number
  meanMs: number
  minMs: number
  maxMs: number
  /** The most that the device held meanwhile, the model included. */
  peakBytes: number
}

/**
 * Times `model.forward(...inputs)` of any module, each pass until the device has done all of it.
 *
 *     const { medianMs } = await benchmark(model, [x])
 *
 * @throws ShapeError unless the model has a `forward`, and it or the inputs hold a tensor
 */
export async function benchmark(
  model: Module,
  inputs: readonly unknown[],
  options: BenchmarkOptions = {},
): Promise<BenchmarkResult> {
  check('benchmark', 'model', model, aModule)
  check('benchmark', 'inputs', inputs, aList)
  checkOptions('benchmark', options, optionKinds)
  const { runs = 20, warmup = 3, signal } = options
  const forward: unknown = Reflect.get(model, 'forward')
  if (typeof forward !== 'function')
    throw new ShapeError(`benchmark: the model must have forward(…); ${model.typeName} has none`)
  const device = [...heldIn(inputs), ...model.parameters()].find(isOnDevice)?.device
  if (!device) throw new ShapeError('benchmark: the model or the inputs must hold a tensor; received none')
  const times: number[] = []
  await device.sync()
  device.peakBytes = device.allocatedBytes
  for (let run = -warmup; run < runs; run++) {
    signal?.throwIfAborted()
    const started = performance.now()
    scope(() => {
      forward.call(model, ...inputs)
    })
    await device.sync()
    if (run >= 0) times.push(performance.now() - started)
  }
  return {
    runs,
    medianMs: median(times),
    meanMs: times.reduce((sum, ms) => sum + ms, 0) / runs,
    minMs: Math.min(...times),
    maxMs: Math.max(...times),
    peakBytes: device.peakBytes,
  }
}

function isOnDevice(value: unknown): value is Tensor | QTensor {
  return value instanceof Tensor || value instanceof QTensor
}
