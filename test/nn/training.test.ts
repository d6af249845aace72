import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { ExponentialLR } from '../../src/nn/optim/schedules.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { type TrainOptions, trainEpoch } from '../../src/nn/training.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

/** y = second · first · x with single numbers, so that every step can be worked by hand. */
class Product extends Module {
  first = new Linear(1, 1, { bias: false })
  second = new Linear(1, 1, { bias: false })

  forward(x: Tensor): Tensor {
    return this.second.forward(this.first.forward(x))
  }
}

for (const name of deviceNames) {
  describe(`trainEpoch on ${name}`, () => {
    const device = openDevice(name, { threads: 1 })
    after(() => device.close())

    /** Trains first = 1, second = 3 on these x, lr 0.125; the loss is the output. */
    async function train(
      xs: number[],
      { gamma, ...options }: Partial<TrainOptions<Tensor>> & { gamma?: number } = {},
    ) {
      const model = new Product()
      model.first.weight = Tensor.fromNumbers(device, [1], [1, 1])
      model.second.weight = Tensor.fromNumbers(device, [3], [1, 1])
      const batches = xs.map((x) => Tensor.fromNumbers(device, [x], [1, 1]))
      const optimizer = new SGD(model.parameters(), { lr: 0.125 })
      const schedule = gamma ? new ExponentialLR(optimizer, { gamma }) : undefined
      try {
        const losses = await trainEpoch(model, batches, {
          optimizer,
          schedule,
          loss: (x) => model.forward(x),
          ...options,
        })
        const weights = [await model.first.weight.toNumbers(), await model.second.weight.toNumbers()].map(
          ([value]) => value,
        )
        assert.equal(model.training, true)
        return { losses: [...losses], weights }
      } finally {
        assert.equal(Object.hasOwn(model.first, 'forward'), false)
        for (const tensor of [...batches, model]) tensor.dispose()
        assert.equal(device.allocatedBytes, 0, 'nothing is left')
      }
    }

    test('losses and weights by hand, however often losses are read', async () => {
      // Gradients are second · x and first · x: (1, 3) → (1 − 6/8, 3 − 2/8) = (0.25, 2.75) → (0.25 − 2.75/8,
      // 2.75 − 0.25/8).
      for (const checkEvery of [1, 2, 50]) {
        assert.deepEqual(await train([2, 1], { checkEvery }), {
          losses: [6, 0.6875],
          weights: [-0.09375, 2.71875],
        })
      }
      assert.deepEqual(await train([2, 1], { detectAnomaly: true }), {
        losses: [6, 0.6875],
        weights: [-0.09375, 2.71875],
      })
    })

    test('a schedule takes a step after every batch', async () => {
      // The second step has lr 0.0625.
      assert.deepEqual((await train([2, 1], { gamma: 0.5 })).weights, [0.25 - 2.75 / 16, 2.75 - 0.25 / 16])
    })

    test('gradients are clipped before the step', async () => {
      // (3, 1) · 4 has norm √160; scaled to norm √10 it is (3, 1).
      const { weights } = await train([4], { clipNorm: Math.sqrt(10) })
      const expected = [1 - 3 / 8, 3 - 1 / 8]
      weights.forEach((weight, i) => {
        assert.ok(Math.abs(weight - expected[i]) < 1e-6, `${weights}`)
      })
    })

    test('progress is told after each read', async () => {
      const told: [number, number][] = []
      await train([1, 0, 0], { checkEvery: 2, onProgress: (steps, loss) => void told.push([steps, loss]) })
      assert.deepEqual(told, [
        [2, 0],
        [3, 0],
      ])
    })

    test('a loss that is not finite: at which step, and with detectAnomaly what was first', async () => {
      const xs = [1, 1, NaN, 1]
      const says = (message: string) => ({
        name: 'DTypeError',
        message: `trainEpoch: loss and gradients must be finite; ${message}`,
      })
      await assert.rejects(
        train(xs),
        says('the loss of step 3 is NaN: detectAnomaly tells which layer was first'),
      )
      await assert.rejects(
        train(xs, { detectAnomaly: true }),
        says('the loss of step 3 is NaN: the output of first (Linear) is NaN'),
      )
      // 3 · 2e38 overflows in the second layer.
      await assert.rejects(
        train([2e38], { detectAnomaly: true }),
        says('the loss of step 1 is Infinity: the output of second (Linear) is Infinity'),
      )
    })

    test('a gradient that is not finite is told before the weights are', async () => {
      const optimizer = { zeroGrad: () => {}, step: () => {} }
      const model = new Product()
      // The loss is 1e-30 · 1e30 · 1e30, the gradient of the first weight 1e30 · 1e30.
      model.first.weight = Tensor.fromNumbers(device, [1e-30], [1, 1])
      model.second.weight = Tensor.fromNumbers(device, [1e30], [1, 1])
      for (const weight of [model.first.weight, model.second.weight]) weight.requiresGrad = true
      const x = Tensor.fromNumbers(device, [1e30], [1, 1])
      await assert.rejects(
        trainEpoch(model, [x], { optimizer, loss: (x) => model.forward(x), detectAnomaly: true }),
        /the gradient of first.weight is Infinity/,
      )
      for (const tensor of [x, model]) tensor.dispose()
      assert.equal(device.allocatedBytes, 0)
    })

    test('no batches are refused', async () => {
      await assert.rejects(train([]), {
        message: 'trainEpoch: there must be a batch to train on; received none',
      })
      await assert.rejects(train([1], { checkEvery: 0 }), {
        message: 'trainEpoch: checkEvery must be a whole number, 1 or more; received 0',
      })
    })
  })
}
