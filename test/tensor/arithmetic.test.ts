import assert from 'node:assert/strict'
import { add, div, mul, type Operand, sub } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from './devices.ts'
import { compareWithDifferences } from './differences.ts'

type Arithmetic = (a: Operand, b: Operand) => Tensor
const operations: Record<string, { run: Arithmetic; plain: (a: number, b: number) => number }> = {
  add: { run: add, plain: (a, b) => a + b },
  sub: { run: sub, plain: (a, b) => a - b },
  mul: { run: mul, plain: (a, b) => a * b },
  div: { run: div, plain: (a, b) => a / b },
}

testOnDevices('a number stands at either side of a tensor, with its gradients', async (device) => {
  for (const [name, { run, plain }] of Object.entries(operations)) {
    for (const shape of [[3, 7], [5], []]) {
      const check = (what: string, f: (x: Tensor) => Tensor, reference: (x: number) => number) =>
        compareWithDifferences(device, `${what} [${shape}]`, [shape], f, (x) => x.map(reference), {
          shift: 4,
        })
      await check(
        `${name}(x, 1.5)`,
        (x) => run(x, 1.5),
        (x) => plain(x, 1.5),
      )
      await check(
        `${name}(-3, x)`,
        (x) => run(-3, x),
        (x) => plain(-3, x),
      )
    }
    const none = Tensor.empty(device, [2, 0])
    assert.deepEqual([run(none, 3).shape, run(3, none).shape], [none.shape, none.shape])
  }
})

testOnDevices('the sign of zero is that of IEEE 754', async (device) => {
  const zeros = Tensor.fromNumbers(device, [0, -0])
  const bits = async (y: Tensor) => [...(await y.toNumbers())].map((value) => Object.is(value, -0))
  assert.deepEqual(await bits(mul(zeros, 1)), [false, true])
  assert.deepEqual(await bits(mul(-1, zeros)), [true, false])
  assert.deepEqual(await bits(add(zeros, -0)), [false, true])
  assert.deepEqual(await bits(sub(zeros, 0)), [false, true])
  assert.deepEqual(await bits(sub(0, zeros)), [false, false])
  assert.deepEqual(await bits(div(zeros, -2)), [true, false])
})

testOnDevices('quotients by a number are rounded once', async (device) => {
  // 5 · fl(1/3) would be the next number above.
  const y = div(Tensor.fromNumbers(device, [5, 7, 1]), 3)
  assert.deepEqual([...(await y.toNumbers())], [5 / 3, 7 / 3, 1 / 3].map(Math.fround))
})

testOnDevices('other operands are refused in one sentence', (device) => {
  const x = Tensor.full(device, [2], 1)
  const refused = (received: string) => ({
    name: 'DTypeError',
    message: `sub: a and b must be tensors, or one of them a number; received ${received}`,
  })
  const given = (a: unknown, b: unknown) => () => sub(a as Operand, b as Operand)
  assert.throws(given(x, undefined), refused('tensor and undefined'))
  assert.throws(given([1, 2], x), refused('object and tensor'))
  assert.throws(given(1, 2), refused('number and number'))
})
