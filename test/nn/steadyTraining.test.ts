import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { crossEntropyLoss } from '../../src/nn/losses.ts'
import { Module } from '../../src/nn/module.ts'
import { AdamW } from '../../src/nn/optim/adam.ts'
import { trainEpoch } from '../../src/nn/training.ts'
import { quantize } from '../../src/quantize/quantize.ts'
import { relu } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

/** Steps of each run; LOWBIT_TRAINING_STEPS sets another number. */
const steps = Number(process.env.LOWBIT_TRAINING_STEPS ?? 1000)

class Net extends Module {
  fc1 = new Linear(32, 64)
  fc2 = new Linear(64, 10)

  forward(x: Tensor): Tensor {
    return this.fc2.forward(relu(this.fc1.forward(x)))
  }
}

for (const name of ['native', 'wasm'] as const) {
  for (const weights of ['float32', 'int4'] as const) {
    test(`${steps} training steps, ${weights} on ${name}: memory stays flat`, async () => {
      const device = openDevice(name, { threads: 1 })
      after(() => device.close())
      const net = initialize(new Net(), device)
      if (weights === 'int4') quantize(net, { weights })
      const x = Tensor.fromNumbers(
        device,
        Float32Array.from({ length: 16 * 32 }, (_, i) => Math.sin(i)),
        [16, 32],
      )
      const y = Tensor.fromArray(
        device,
        Int32Array.from({ length: 16 }, (_, i) => i % 10),
      )
      const optimizer = new AdamW(net.parameters())
      const bytes: number[] = []
      const losses = await trainEpoch(net, Array(steps).fill(null), {
        optimizer,
        clipNorm: 1,
        loss: () => crossEntropyLoss(net.forward(x), y),
        onProgress: () => void bytes.push(device.allocatedBytes, process.memoryUsage().rss),
      })
      assert.ok(losses[losses.length - 1] < 0.1 * losses[0], `${losses[0]} → ${losses[losses.length - 1]}`)
      // The first read comes after a step, when moments and gradients are there: from then on not a byte more on the device.
      const device0 = bytes.filter((_, i) => i % 2 === 0)
      assert.deepEqual(new Set(device0).size, 1, `${device0}`)
      const rss = bytes.filter((_, i) => i % 2 === 1)
      const later = rss.slice(Math.floor(rss.length / 4))
      assert.ok(Math.max(...later) - later[0] < 64 * 2 ** 20, `resident: ${later.map((value) => Math.round(value / 2 ** 20))} MiB`)
      for (const owned of [optimizer, net, x, y]) owned.dispose()
      assert.equal(device.allocatedBytes, 0)
    })
  }
}
