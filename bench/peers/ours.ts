import { Random } from '../../src/core/random.ts'
import type { Device } from '../../src/devices/device.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import type { Module } from '../../src/nn/module.ts'
import { setComputeDtype } from '../../src/nn/qmodule.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { matmul } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import type { Work } from './works.ts'

/** A piece of work that lowbit computes. */
export class Ours {
  private readonly x: Tensor
  private readonly layers: readonly (Module & { forward(x: Tensor): Tensor })[]
  private readonly run: () => void
  /** Of one weight. */
  readonly bytes: number

  constructor(device: Device, work: Work) {
    const { rows, n, k } = work
    const random = new Random(1)
    const values = Float32Array.from({ length: rows * k }, () => random.normal())
    this.x = Tensor.fromNumbers(device, values, [rows, k])
    const first = layerOf(device, work)
    this.layers = [first, ...Array.from({ length: work.copies - 1 }, () => first.clone())]
    const [[, weight]] = [...first.namedParameters()]
    this.bytes = weight instanceof QTensor ? weight.byteLength : 4 * n * k
    this.run = () => {
      for (const layer of this.layers) layer.forward(this.x)
    }
    if (work.plain) {
      const w = Tensor.fromNumbers(device, new Float32Array(k * n).fill(0.01), [k, n])
      this.run = () => void matmul(this.x, w)
    }
  }

  /** The least milliseconds of one product, of `ms` milliseconds of them. */
  async time(ms: number): Promise<number> {
    let least = Infinity
    const begun = performance.now()
    while (performance.now() - begun < ms) {
      const started = performance.now()
      scope(this.run)
      await this.x.device.sync()
      least = Math.min(least, performance.now() - started)
    }
    return least / this.layers.length
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose()
    this.x.dispose()
  }
}

function layerOf(device: Device, { n, k, weights, groupSize, computeDtype }: Work): Sequential {
  const model = initialize(new Sequential(new Linear(k, n, { bias: false })), device, { seed: 1 })
  if (weights === 'float32') return model
  quantize(model, { weights, groupSize, scaleDtype: weights === 'nf4' ? 'float32' : 'float16' })
  freeze(model)
  setComputeDtype(model, computeDtype)
  return model
}
