import { Random } from '../../src/core/random.ts'
import type { Device } from '../../src/devices/device.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { setComputeDtype } from '../../src/nn/qmodule.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { compile } from '../../src/nn/trace.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { matmul } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { mobileNet } from './mobileNet.ts'
import type { LayerWork, NetworkWork, Work } from './works.ts'

/** A piece of work that lowbit computes. */
export interface Ours {
  readonly device: Device
  /** Computes it `calls` times. */
  readonly run: () => void
  readonly calls: number
  /** Of one weight. */
  readonly bytes: number
  readonly dispose: () => void
}

/** Makes ready what lowbit computes. */
export function prepare(device: Device, work: Work): Promise<Ours> {
  return 'batch' in work ? network(device, work) : layers(device, work)
}

/** The least milliseconds of one call, of `ms` milliseconds of them. */
export async function time({ device, run, calls }: Ours, ms: number): Promise<number> {
  let least = Infinity
  const begun = performance.now()
  while (performance.now() - begun < ms) {
    const started = performance.now()
    scope(run)
    await device.sync()
    least = Math.min(least, performance.now() - started)
  }
  return least / calls
}

/** Products of one call, at least, where weights stay in a cache: what a call itself takes hardly counts. */
const leastProducts = 16

/** One layer, or copies of it. */
async function layers(device: Device, work: LayerWork): Promise<Ours> {
  const { rows, n, k, weights, algorithm, groupSize, computeDtype, plain, copies } = work
  const x = noise(device, [rows, k])
  if (plain) {
    const w = noise(device, [k, n])
    return oursOf(device, [x, w], () => void matmul(x, w), 1, w.byteLength)
  }
  const model = initialize(new Sequential(new Linear(k, n, { bias: false })), device, { seed: 1 })
  if (weights !== 'float32') {
    quantize(model, { weights, algorithm, groupSize, scaleDtype: weights === 'nf4' ? 'float32' : 'float16' })
    freeze(model)
    setComputeDtype(model, computeDtype)
  }
  const all = [model, ...Array.from({ length: copies - 1 }, () => model.clone())]
  const [[, weight]] = [...model.namedParameters()]
  const bytes = weight instanceof QTensor ? weight.byteLength : 4 * n * k
  const times = rows === 1 ? Math.ceil(leastProducts / copies) : 1
  const run = () => {
    for (let i = 0; i < times; i++) for (const layer of all) layer.forward(x)
  }
  return oursOf(device, [x, ...all], run, times * copies, bytes)
}

async function network(device: Device, { batch }: NetworkWork): Promise<Ours> {
  const x = noise(device, [batch, 3, 224, 224])
  const model = initialize(mobileNet(), device, { seed: 1 })
  quantize(model, { weights: 'int8', activations: 'int8' })
  await calibrate(model, () => scope(() => void model.forward(x)))
  freeze(model)
  setComputeDtype(model, 'int8')
  const compiled = compile(model, [x])
  return oursOf(device, [x, model, compiled], () => void compiled.run(x), 1, 0)
}

function oursOf(
  device: Device,
  held: readonly Disposable[],
  run: () => void,
  calls: number,
  bytes: number,
): Ours {
  const dispose = () => {
    for (const one of held) one[Symbol.dispose]()
  }
  return { device, run, calls, bytes, dispose }
}

function noise(device: Device, shape: readonly number[]): Tensor {
  const random = new Random(1)
  const length = shape.reduce((product, size) => product * size, 1)
  return Tensor.fromNumbers(
    device,
    Float32Array.from({ length }, () => random.normal()),
    shape,
  )
}
