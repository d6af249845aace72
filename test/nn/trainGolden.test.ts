import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { Linear } from '../../src/nn/linear.ts'
import { crossEntropyLoss } from '../../src/nn/losses.ts'
import { Module } from '../../src/nn/module.ts'
import { AdamW } from '../../src/nn/optim/adam.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { trainEpoch } from '../../src/nn/training.ts'
import { gelu } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { numberRow } from '../goldenTable.ts'
import { goldenOp, goldenTensor, goldenValues } from '../tensor/goldenGradients.ts'

/** Five steps of PyTorch: the losses, and the parameters after them. */
const manifest: { ops: { name: string; losses?: number[] }[] } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../golden/gradients/manifest.json'), 'utf8'),
)

class Net extends Module {
  fc1 = new Linear(6, 8)
  fc2 = new Linear(8, 3, { bias: false })

  forward(x: Tensor): Tensor {
    return this.fc2.forward(gelu(this.fc1.forward(x)))
  }
}

const epsilon = 2 ** -23
const runs = [
  // A step divides by √v of the gradient itself: a gradient's relative error of some 16 ε moves a parameter
  // by that part of lr.
  {
    name: 'train_adamw',
    optimizer: (net: Net) => new AdamW(net.parameters(), { lr: 0.01, weightDecay: 0.01 }),
    moved: 0.01 * 5 * 16,
  },
  // Gradients are below 1, errors of some ε; momentum adds them up: lr · (1 + 1.9 + 2.71 + …) < 1.
  {
    name: 'train_sgd',
    optimizer: (net: Net) => new SGD(net.parameters(), { lr: 0.1, momentum: 0.9, weightDecay: 1e-3 }),
    moved: 1,
  },
]

for (const deviceName of deviceNames) {
  describe(deviceName, () => {
    const device = openDevice(deviceName, { threads: 1 })
    after(() => device.close())

    for (const { name, optimizer, moved } of runs) {
      test(`${name}: losses and parameters of five steps as in PyTorch`, async () => {
        const golden = await goldenOp(name)
        const net = new Net()
        net.fc1.weight = goldenTensor(device, golden, 'in.w1')
        net.fc1.bias = goldenTensor(device, golden, 'in.b1')
        net.fc2.weight = goldenTensor(device, golden, 'in.w2')
        const batch = { x: goldenTensor(device, golden, 'in.x'), y: goldenTensor(device, golden, 'in.y') }
        const optim = optimizer(net)
        const losses = await trainEpoch(net, Array(5).fill(batch) as (typeof batch)[], {
          optimizer: optim,
          loss: ({ x, y }) => crossEntropyLoss(net.forward(x), y),
        })
        const expected = manifest.ops.find((op) => op.name === name)?.losses ?? []
        assert.equal(expected.length, 5)
        for (const [step, loss] of losses.entries()) {
          const bound = 16 * epsilon * expected[step]
          assert.ok(
            Math.abs(loss - expected[step]) <= bound,
            `step ${step}: ${loss}; expected ${expected[step]} ± ${bound}`,
          )
        }
        for (const [key, parameter] of [
          ['w1', net.fc1.weight] as const,
          ['b1', net.fc1.bias] as const,
          ['w2', net.fc2.weight] as const,
        ]) {
          assert.ok(parameter instanceof Tensor)
          const want = goldenValues(golden, `out.${key}`)
          for (const [i, value] of (await parameter.toNumbers()).entries()) {
            const bound = epsilon * (5 * Math.abs(want[i]) + moved)
            assert.ok(
              Math.abs(value - want[i]) <= bound,
              `${key}[${i}]: ${value}; expected ${want[i]} ± ${bound}`,
            )
          }
        }
        numberRow(name, deviceName, 'loss of the fifth step', losses[4], expected[4], 'relatively 16 ε')
        for (const tensor of [net, optim, batch.x, batch.y]) tensor.dispose()
        assert.equal(device.allocatedBytes, 0)
      })
    }
  })
}
