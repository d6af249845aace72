import assert from 'node:assert/strict'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { mseLoss } from '../../src/nn/losses.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { backward, enableGrad } from '../../src/tensor/backward.ts'
import { mul, sum } from '../../src/tensor/ops/index.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { noGrad } from '../../src/tensor/tape.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from './devices.ts'

const numbers = async (tensor: Tensor | null) => [...((await tensor?.toNumbers()) ?? [])]

testOnDevices(
  'loss.backward() adds gradients, and what was computed lives to the end of enableGrad',
  async (device) => {
    const before = device.allocatedBytes
    const x = Tensor.fromNumbers(device, [1, 2, 3])
    x.requiresGrad = true
    const { loss, read } = enableGrad(() => {
      const square = scope(() => mul(x, x))
      const loss = sum(mul(square, x))
      loss.backward()
      return { loss, read: mul(square, 1) }
    })
    assert.equal(await loss.item(), 1 + 8 + 27)
    assert.deepEqual(await numbers(read), [1, 4, 9])
    // 3x²
    assert.deepEqual(await numbers(x.grad), [3, 12, 27])
    for (const tensor of [x, loss, read]) tensor.dispose()
    assert.equal(device.allocatedBytes, before)
  },
)

testOnDevices('several losses of one pass add up, each as often as it is asked', async (device) => {
  const x = Tensor.fromNumbers(device, [2, 5])
  x.requiresGrad = true
  enableGrad(() => {
    const square = mul(x, x)
    const [first, second] = [sum(square), sum(mul(square, x))]
    first.backward()
    second.backward()
    first.backward()
  })
  // 2 · 2x + 3x²
  assert.deepEqual(await numbers(x.grad), [8 + 12, 20 + 75])
  x.dispose()
})

testOnDevices('a training step as PyTorch writes it', async (device) => {
  const model = initialize(new Linear(1, 1), device, { seed: 0 })
  model.weight.write(new Uint8Array(Float32Array.of(2).buffer))
  model.bias?.write(new Uint8Array(Float32Array.of(0).buffer))
  const optimizer = new SGD(model.parameters(), { lr: 0.5 })
  const [x, y] = [Tensor.fromNumbers(device, [1], [1, 1]), Tensor.fromNumbers(device, [4], [1, 1])]
  const losses: Tensor[] = []
  for (let step = 0; step < 2; step++) {
    const loss = enableGrad(() => {
      optimizer.zeroGrad()
      const loss = mseLoss(model.forward(x), y)
      loss.backward()
      optimizer.step()
      return loss
    })
    losses.push(loss)
  }
  // w = 2, b = 0: loss 4, gradients −4; w = 4, b = 2: loss 4, gradients 4; w = 2, b = 0.
  assert.deepEqual(await Promise.all(losses.map((loss) => loss.item())), [4, 4])
  assert.deepEqual([await model.weight.item(), await model.bias?.item()], [2, 0])
})

testOnDevices(
  'parameters ask for their gradients once they are initialized, without an optimizer',
  async (device) => {
    const model = initialize(new Linear(2, 1), device, { seed: 0 })
    const x = Tensor.fromNumbers(device, [3, 5], [1, 2])
    backward(() => sum(model.forward(x)))
    assert.deepEqual(
      [await numbers(model.weight.grad), await numbers(model.bias?.grad ?? null)],
      [[3, 5], [1]],
    )
    assert.equal(model.clone().weight.requiresGrad, true)
  },
)

const nowhere =
  /^backward: the loss must be computed where gradients are noted, in backward\(\(\) => loss\) or enableGrad\(.*; nothing notes them here$/
const noLeaf =
  /^backward: the loss must be computed, here, from a tensor that asks for its gradient \(.*requiresGrad = true\); it is not$/
const tooOld =
  /^backward: the loss must be computed after the last step of the optimizer, which changed what it came from$/

testOnDevices('a loss that no gradient can come from is refused with what to write', (device) => {
  const x = Tensor.fromNumbers(device, [1, 2])
  x.requiresGrad = true
  const refused = (message: RegExp, body: () => unknown) =>
    assert.throws(body, { name: 'ShapeError', message })
  const early = sum(mul(x, x))
  refused(nowhere, () => early.backward())
  refused(nowhere, () => enableGrad(() => noGrad(() => sum(mul(x, x)).backward())))
  refused(noLeaf, () => enableGrad(() => early.backward()))
  refused(noLeaf, () => backward(() => early))
  refused(noLeaf, () => backward(() => sum(mul(x.detach(), 2))))
  refused(/the loss must be one value; received \[2\]/, () => enableGrad(() => mul(x, x).backward()))
  assert.equal(x.grad, null)
})

testOnDevices('the way back ends where a parameter was changed', async (device) => {
  const before = device.allocatedBytes
  const x = Tensor.fromNumbers(device, [1])
  const optimizer = new SGD([x], { lr: 1 })
  const step = () =>
    enableGrad(() => {
      const [first, stale] = [mul(x, 3), mul(x, 5)]
      first.backward()
      optimizer.step()
      // 1 − 3
      const fresh = mul(mul(x, x), 1)
      fresh.backward()
      keep(fresh).dispose()
      mul(stale, x).backward()
    })
  assert.throws(step, { name: 'ShapeError', message: tooOld })
  // 3 + 2 · −2
  assert.deepEqual(await numbers(x.grad), [-1])
  optimizer.zeroGrad()
  x.dispose()
  assert.equal(device.allocatedBytes, before)
})
