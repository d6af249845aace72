import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { trainEpoch } from '../../src/nn/training.ts'
import { QActivation } from '../../src/qtensor/activation.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { quantize } from '../../src/quantize/quantize.ts'
import { sum } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu')
after(() => device.close())

class Plain extends Module {
  fc = new Linear(4, 4)
  forward(x: Tensor): Tensor {
    return this.fc.forward(x)
  }
}

/** Its `forward` is a property of its own. */
class Arrow extends Module {
  fc = new Linear(4, 4)
  forward = (x: Tensor): Tensor => this.fc.forward(x)
}

const x = Tensor.fromNumbers(device, [1, 2, 3, 4], [1, 4])

for (const Net of [Plain, Arrow]) {
  test(`observers of a ${Net.name} model hear of each pass until they end, and leave no trace`, () => {
    const model = initialize(new Net(), device)
    const before = Object.getOwnPropertyDescriptor(model, 'forward')
    const heard: string[] = []
    const end = model.observe((y, [taken]) => heard.push(`${y instanceof Tensor} ${taken === x}`))
    {
      using second = model.observe({ input: () => heard.push('input'), output: () => heard.push('output') })
      assert.equal(typeof second, 'function')
      scope(() => void model.forward(x))
      assert.deepEqual(heard.splice(0), ['input', 'true true', 'output'])
    }
    scope(() => void model.forward(x))
    assert.deepEqual(heard.splice(0), ['true true'])
    end()
    end()
    assert.deepEqual(Object.getOwnPropertyDescriptor(model, 'forward'), before)
    scope(() => void model.forward(x))
    assert.deepEqual(heard, [])
  })

  test(`a calibration and an anomaly watch leave the forward of a ${Net.name} model as it was, and a hook over it`, async () => {
    const model = initialize(new Net(), device)
    const old = model.forward.bind(model)
    let calls = 0
    const hook = (taken: Tensor) => {
      calls++
      return old(taken)
    }
    model.forward = hook
    const loss = () => sum(model.forward(x))
    await trainEpoch(model, [1], {
      optimizer: new SGD(model.parameters(), { lr: 0.1 }),
      loss,
      detectAnomaly: true,
    })
    assert.deepEqual([model.forward === hook, calls], [true, 1])
    quantize(model, { weights: 'int8', activations: 'int8' })
    await calibrate(model, () => scope(() => void model.forward(x)))
    assert.deepEqual([model.forward === hook, calls], [true, 2])
  })
}

test('a hook that is put over it while it is observed stays', () => {
  const model = initialize(new Plain(), device)
  const heard: string[] = []
  const end = model.observe(() => heard.push('observer'))
  const watched = model.forward
  model.forward = (taken) => {
    heard.push('hook')
    return watched.call(model, taken)
  }
  scope(() => void model.forward(x))
  end()
  scope(() => void model.forward(x))
  assert.deepEqual(heard, ['hook', 'observer', 'hook'])
})

test('a copy of an observed model is not observed; a forward of its own is refused, since it would compute with the original', () => {
  const model = initialize(new Plain(), device)
  let calls = 0
  using _ = model.observe(() => calls++)
  scope(() => void model.clone().forward(x))
  assert.equal(calls, 0)
  assert.throws(() => initialize(new Arrow(), device).clone(), {
    message:
      'clone: forward must be a method of its class; that of Arrow is a property, a function that would go on computing with the original',
  })
})

test('a twin tells what it computed before its output is quantized, and one of weights only, too', async () => {
  for (const activations of [undefined, 'int8'] as const) {
    const model = initialize(new Plain(), device)
    quantize(model, { weights: 'int8', activations })
    if (activations) await calibrate(model, () => scope(() => void model.forward(x)), { streamline: false })
    const told: boolean[] = []
    using _ = model.fc.observe({
      computed: (y) => told.push(y instanceof QActivation),
      output: (y) => told.push(y instanceof QActivation),
    })
    scope(() => void model.forward(x))
    assert.deepEqual(told, [false, activations !== undefined])
  }
})
