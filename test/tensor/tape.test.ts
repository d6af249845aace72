import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { backward } from '../../src/tensor/backward.ts'
import { op } from '../../src/tensor/op.ts'
import { mul, reduce } from '../../src/tensor/ops/index.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { needsGrad, noGrad } from '../../src/tensor/tape.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

/** A parameter of one row. */
function parameter(...values: number[]): Tensor {
  const tensor = Tensor.fromNumbers(device, values, [1, values.length])
  tensor.requiresGrad = true
  return tensor
}
/** a · b and Σ x as a user would write operations of his own. */
const product = op(
  'product(a, b)',
  (a: Tensor, b: Tensor) => mul(a, b),
  ({ dy }, a, b) => [mul(dy, b), mul(dy, a)],
)
const sum = op(
  'sum(x)',
  (x: Tensor) => reduce('sum', x),
  ({ dy }, x) => {
    const ones = Tensor.fromNumbers(device, new Float32Array(x.numel).fill(1), x.shape)
    return [scope(() => mul(ones, Tensor.fromNumbers(device, new Float32Array(x.size(-1)).fill(1))))].map(
      (one) => scaled(one, dy),
    )
  },
)
/** one · dy, for the gradient 1 of a loss. */
const scaled = (one: Tensor, dy: Tensor) => (dy.numel === 1 ? one : mul(one, dy))

test('gradients of Σ a·b·a: 2·a·b and a², added up over calls, with nothing left on the device', async () => {
  const [a, b] = [parameter(1, 2, 3), parameter(4, 5, 6)]
  const before = device.allocatedBytes
  for (let step = 1; step <= 3; step++) {
    const loss = backward(() => scope(() => sum(product(product(a, b), a).view([1, 3]))))
    assert.deepEqual([...(await loss.toNumbers())], [4 + 20 + 54])
    loss.dispose()
    assert.deepEqual([...((await a.grad?.toNumbers()) ?? [])], [8 * step, 20 * step, 36 * step])
    assert.deepEqual([...((await b.grad?.toNumbers()) ?? [])], [1 * step, 4 * step, 9 * step])
    assert.equal(device.allocatedBytes, before + 2 * 64, 'the two gradients')
  }
  for (const tensor of [a, b]) tensor.dispose()
  assert.equal(device.allocatedBytes, 0)
})

test('no gradient passes through noGrad, detach, or a tensor that asks for none', async () => {
  const [a, b] = [parameter(1, 2), parameter(3, 4)]
  const loss = backward(() =>
    sum(
      product(
        product(
          noGrad(() => product(a, b)),
          a.detach(),
        ),
        b,
      ),
    ),
  )
  assert.equal(a.grad, null)
  assert.deepEqual([...((await b.grad?.toNumbers()) ?? [])], [3, 16])
  for (const tensor of [a, b, loss]) tensor.dispose()
  assert.equal(device.allocatedBytes, 0)
})

test('what the body returns beside the loss, and what it keeps, lives on', async () => {
  const a = parameter(1, 2)
  let kept: Tensor | undefined
  const { loss, square } = backward(() => {
    const square = product(a, a)
    kept = keep(product(square, a))
    assert.ok(needsGrad(square))
    return { loss: sum(square), square }
  })
  assert.deepEqual([...(await square.toNumbers())], [1, 4])
  assert.deepEqual([...((await kept?.toNumbers()) ?? [])], [1, 8])
  assert.deepEqual([...((await a.grad?.toNumbers()) ?? [])], [2, 4])
  for (const tensor of [a, loss, square, kept]) tensor?.dispose()
  assert.equal(device.allocatedBytes, 0)
})

test('a loss of several values is refused, and leaves nothing', () => {
  const a = parameter(1, 2)
  assert.throws(() => backward(() => product(a, a)), /backward: the loss must be one value; received \[1,2\]/)
  a.dispose()
  assert.equal(device.allocatedBytes, 0)
})
