import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { OneCycleLR } from '../../src/nn/optim/oneCycle.ts'
import {
  CosineAnnealingLR,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  MultiStepLR,
  type Schedule,
  type Scheduled,
  StepLR,
} from '../../src/nn/optim/schedules.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { camelCased, type OptimizerGolden } from './optimizerGolden.ts'

const golden: OptimizerGolden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../golden/optimizers.json'), 'utf8'),
)
const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

const lambdas = [(epoch: number) => 0.9 ** epoch, (epoch: number) => 1 / (1 + epoch)]
const schedules: Record<string, (optimizer: Scheduled, options: never) => Schedule> = {
  StepLR: (optimizer, options) => new StepLR(optimizer, options),
  MultiStepLR: (optimizer, options) => new MultiStepLR(optimizer, options),
  ExponentialLR: (optimizer, options) => new ExponentialLR(optimizer, options),
  CosineAnnealingLR: (optimizer, options) => new CosineAnnealingLR(optimizer, options),
  LinearLR: (optimizer, options) => new LinearLR(optimizer, options),
  LambdaLR: (optimizer) => new LambdaLR(optimizer, lambdas),
  OneCycleLR: (optimizer, options) => new OneCycleLR(optimizer, options),
}

/** Two groups, the second with a rate of its own. */
function grouped(optimizer: 'SGD' | 'Adam', settings: Record<string, never>): SGD | Adam {
  const groups = [
    { params: [Tensor.fromNumbers(device, [1])] },
    { params: [Tensor.fromNumbers(device, [2])], lr: 0.05 },
  ]
  return optimizer === 'SGD' ? new SGD(groups, settings) : new Adam(groups, settings)
}

for (const { schedule, options, optimizer, settings, rates, momenta } of golden.schedules) {
  test(`${schedule} ${JSON.stringify(options)}: the rates of torch, all float64`, () => {
    const optim = grouped(optimizer, camelCased(settings))
    const scheduler = schedules[schedule](optim, camelCased(options) as never)
    for (const [epoch, expected] of rates.entries()) {
      if (epoch > 0) scheduler.step()
      scheduler.getLastLr().forEach((lr, i) => {
        // torch multiplies factor by factor, 14 roundings at most; near 0 the cosine's own error counts
        // against the first rate.
        assert.ok(
          Math.abs(lr - expected[i]) <= 1e-14 * (1 + Math.abs(expected[i])),
          `epoch ${epoch}: ${lr}; expected ${expected[i]}`,
        )
      })
      const group = optim.paramGroups[0]
      const momentum = 'betas' in group ? group.betas[0] : group.momentum
      assert.ok(
        Math.abs(momentum - momenta[epoch]) <= 1e-14,
        `epoch ${epoch}: momentum ${momentum}; expected ${momenta[epoch]}`,
      )
    }
  })
}

test('a schedule goes on from what another remembered', () => {
  const [first, second] = [grouped('SGD', {}), grouped('SGD', {})]
  const schedule = new ExponentialLR(first, { gamma: 0.5 })
  for (let i = 0; i < 3; i++) schedule.step()
  const resumed = new ExponentialLR(second, { gamma: 0.5 })
  resumed.loadStateDict(schedule.stateDict())
  assert.deepEqual(resumed.getLastLr(), [0.001 / 8, 0.05 / 8])
})

test('bad options are refused in one sentence', () => {
  const wrong = (body: () => unknown, message: string) => assert.throws(body, { name: 'ShapeError', message })
  const optim = grouped('SGD', {})
  wrong(
    () => new StepLR(optim, { stepSize: 0 }),
    'StepLR: stepSize must be a whole number, 1 or more; received 0',
  )
  wrong(() => new LambdaLR(optim, [() => 1]), 'LambdaLR: there must be 2 functions, one a group; received 1')
  wrong(
    () => new OneCycleLR(optim, { maxLr: 1, totalSteps: 3 }),
    'OneCycleLR: cycleMomentum needs momentum or betas; received an optimizer without',
  )
  const short = new OneCycleLR(optim, { maxLr: 1, totalSteps: 1, cycleMomentum: false })
  wrong(() => short.step(), 'OneCycleLR: there are 1 rates; received step 1')
})
