import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { Adadelta } from '../../src/nn/optim/adadelta.ts'
import { Adam, AdamW } from '../../src/nn/optim/adam.ts'
import { clipGradNorm, clipGradValue } from '../../src/nn/optim/clip.ts'
import type { ParameterOptimizer } from '../../src/nn/optim/optimizer.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { boundRow } from '../goldenTable.ts'
import { camelCased, type OptimizerGolden } from './optimizerGolden.ts'

/** What torch.optim computed; made by scripts/make-optimizer-golden.py. */
const golden: OptimizerGolden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../golden/optimizers.json'), 'utf8'),
)
const shapes = [[2, 3], [4]]
const optimizers = { SGD, Adam, AdamW, Adadelta }
/** The float32 nearest to 1 differs from it by so much. */
const epsilon = 2 ** -23

for (const name of deviceNames) {
  describe(name, () => {
    const device = openDevice(name, { threads: 1 })
    after(() => device.close())
    const tensors = (values: number[][]) => values.map((row, i) => Tensor.fromNumbers(device, row, shapes[i]))
    const setGradients = (params: Tensor[], values: number[][]) =>
      tensors(values).forEach((gradient, i) => {
        params[i].grad = gradient
      })

    for (const { optimizer, settings, groups, after: expected } of golden.steps) {
      const title = `${optimizer} ${JSON.stringify(settings)}${groups ? ' in groups' : ''}`
      test(title, async () => {
        const params = tensors(golden.start)
        const grouped = groups?.map((group, i) => ({ params: [params[i]], ...camelCased(group) }))
        const optim: ParameterOptimizer = new optimizers[optimizer](
          (grouped ?? params) as Tensor[],
          camelCased(settings),
        )
        assert.ok(params.every(({ requiresGrad }) => requiresGrad))
        let share = 0
        for (const [t, gradients] of golden.gradients.entries()) {
          setGradients(params, gradients)
          optim.step()
          optim.zeroGrad()
          for (const [i, param] of params.entries()) {
            // Either side rounds a handful of terms a step; the terms are at most lr-sized changes of the
            // parameter.
            for (const [k, value] of (await param.toNumbers()).entries()) {
              const want = expected[t][i][k]
              const travelled = Math.abs(want - golden.start[i][k])
              const bound = 4 * epsilon * (t + 1) * (Math.abs(want) + travelled + 0.1)
              assert.ok(
                Math.abs(value - want) <= bound,
                `step ${t}, parameter ${i}[${k}]: ${value}; expected ${want} ± ${bound}`,
              )
              share = Math.max(share, Math.abs(value - want) / bound)
            }
          }
        }
        boundRow(title, name, 'parameters after each step', share)
        for (const param of params) param.dispose()
        optim.dispose()
        assert.equal(device.allocatedBytes, 0)
      })
    }

    test('what an optimizer remembers goes to another, which then takes the same steps', async () => {
      const { settings, after: expected } = golden.steps[5]
      const params = tensors(golden.start)
      const first = new Adam(params, camelCased(settings))
      for (const gradients of golden.gradients.slice(0, 3)) {
        setGradients(params, gradients)
        first.step()
      }
      const second = new Adam(params)
      second.loadStateDict(first.stateDict())
      first.dispose()
      for (const gradients of golden.gradients.slice(3)) {
        setGradients(params, gradients)
        second.step()
      }
      const values = [...(await params[1].toNumbers())]
      values.forEach((value, k) => {
        assert.ok(
          Math.abs(value - expected[5][1][k]) <= 24 * epsilon * 2,
          `${value}; expected ${expected[5][1][k]}`,
        )
      })
      assert.throws(() => new Adam(params.slice(1)).loadStateDict(second.stateDict()), {
        message: 'loadStateDict: groups must hold 1 parameters; received 2',
      })
      assert.throws(() => new Adam([params[1], params[0]]).loadStateDict(second.stateDict()), {
        message:
          'loadStateDict: tensors must have the shapes of their parameters; received 0.mean [2,3], 0.square [2,3], 1.mean [4], 1.square [4]',
      })
    })

    for (const { maxNorm, normType, norm: expectedNorm, after: expected } of golden.clipped) {
      test(`clipGradNorm ${maxNorm} of norm ${normType}`, async () => {
        const params = tensors(golden.start)
        setGradients(params, golden.gradients[0])
        const norm = clipGradNorm(params, maxNorm, { normType: normType === 'inf' ? Infinity : 2 })
        assert.ok(Math.abs((await norm.toNumbers())[0] - expectedNorm) <= 4 * epsilon * expectedNorm)
        for (const [i, { grad }] of params.entries()) {
          for (const [k, value] of ((await grad?.toNumbers()) ?? []).entries()) {
            assert.ok(
              Math.abs(value - expected[i][k]) <= 8 * epsilon * Math.abs(expected[i][k]),
              `${value}; expected ${expected[i][k]}`,
            )
          }
        }
      })
    }

    test('clipGradValue limits each value', async () => {
      const param = Tensor.fromNumbers(device, [1, 2, 3])
      param.grad = Tensor.fromNumbers(device, [-5, 0.25, 0.75])
      clipGradValue([param], 0.5)
      assert.deepEqual([...(await param.grad.toNumbers())], [-0.5, 0.25, 0.5])
    })
  })
}

describe('bad input', () => {
  const device = openDevice('cpu', { threads: 1 })
  after(() => device.close())
  const wrong = (body: () => unknown, message: string) => assert.throws(body, { message })

  test('is refused in one sentence', () => {
    const one = Tensor.fromNumbers(device, [1, 2])
    wrong(() => new SGD([]), 'SGD: a group must have a parameter; received none')
    wrong(() => new SGD([one], { lr: -1 }), 'SGD: lr must be a number, 0 or more; received -1')
    wrong(() => new SGD([one], { lr: NaN }), 'SGD: lr must be a number, 0 or more; received NaN')
    wrong(
      () => new SGD([one], { nesterov: true }),
      'SGD: nesterov must be with momentum and without dampening; received momentum 0, dampening 0',
    )
    wrong(
      () => new Adam([one], { betas: [0.9, 1] }),
      'Adam: betas must be a list of 2 numbers in [0, 1); received [0.9,1]',
    )
    wrong(
      () => new AdamW([{ params: [one] }, { params: [one] }]),
      'AdamW: a parameter must be in one group; received [2] in two',
    )
    wrong(() => new Adadelta([Tensor.meta([2])]), metaMessage)
    wrong(
      () => new SGD([Tensor.meta([2], 'bfloat16')]),
      "SGD: parameters must be float32 (load the model with dtype: 'float32'); received Tensor bfloat16 [2] without memory",
    )
    wrong(() => clipGradNorm([one], 1), 'clipGradNorm: a parameter must have a gradient; received none')
    wrong(() => clipGradNorm([one], 0), 'clipGradNorm: maxNorm must be a number above 0; received 0')
  })
})

const metaMessage =
  'Adadelta: parameters must have memory (initialize or load the model first); received Tensor float32 [2] without memory'
