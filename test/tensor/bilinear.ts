import assert from 'node:assert/strict'
import type { Shape } from '../../src/core/shape.ts'
import type { Device } from '../../src/devices/device.ts'
import { epsilon } from '../../src/kernels/inputs.ts'
import { backward } from '../../src/tensor/backward.ts'
import { op } from '../../src/tensor/op.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { boundRow } from '../goldenTable.ts'

/** Values of a tensor on the host. */
export interface Values {
  shape: Shape
  values: ArrayLike<number>
}

/** An operation that is linear in each of its inputs: a product, a convolution. */
export interface Bilinear {
  inputs: Record<string, Values>
  /** The gradient of the output. */
  gradOut: ArrayLike<number>
  forward(inputs: Record<string, Tensor>): Tensor
  /** The same in float64, from the values of the inputs in their order. */
  define(...inputs: Float64Array[]): Float64Array
  /** What PyTorch computed, if known: `out` and `grad.<input>`; and the name of that golden. */
  expected?: (key: string) => ArrayLike<number>
  golden?: string
}

/**
 * How many ε · Σ |a·b| a float32 sum may be off; the sums here have at most some hundred terms, with errors
 * of random sign.
 */
const factor = 4

/**
 * Compares output and gradients on a device with float64 (gradients with central differences of it, exact for
 * what is linear) and with PyTorch, each value within `factor`·ε times what the absolute values of all inputs
 * give.
 */
export async function checkBilinear(device: Device, one: Bilinear): Promise<void> {
  const names = Object.keys(one.inputs)
  const arrays = names.map((name) => Float64Array.from(one.inputs[name].values))
  const tensors = Object.fromEntries(
    names.map((name) => {
      const tensor = Tensor.fromNumbers(device, one.inputs[name].values, one.inputs[name].shape)
      tensor.requiresGrad = true
      return [name, tensor]
    }),
  )
  const { loss, y } = backward(() => {
    const y = one.forward(tensors)
    const dy = Tensor.fromNumbers(device, one.gradOut, y.shape)
    return { loss: given(y, dy), y }
  })
  const magnitudes = arrays.map((values) => values.map(Math.abs))
  const outBound = one.define(...magnitudes)
  compare('out', await y.toNumbers(), one.define(...arrays), outBound)
  let share = one.expected
    ? compare('out beside PyTorch', await y.toNumbers(), one.expected('out'), outBound)
    : 0
  const gradOutMagnitudes = Array.from(one.gradOut, Math.abs)
  for (const [i, name] of names.entries()) {
    const { grad, shape } = tensors[name]
    assert.ok(grad, `no gradient reached ${name}`)
    assert.deepEqual(grad.shape, shape)
    const bound = differences(one.define, magnitudes, i, gradOutMagnitudes)
    compare(`grad.${name}`, await grad.toNumbers(), differences(one.define, arrays, i, one.gradOut), bound)
    if (!one.expected) continue
    share = Math.max(
      share,
      compare(`grad.${name} beside PyTorch`, await grad.toNumbers(), one.expected(`grad.${name}`), bound),
    )
  }
  if (one.golden) boundRow(one.golden, device.name, 'output and gradients', share)
  for (const tensor of [loss, y, ...Object.values(tensors)]) tensor.dispose()
  assert.equal(device.allocatedBytes, 0, 'nothing stays on the device')
}

/** A loss whose gradient by y is dy. */
const given = op(
  'given(y, dy)',
  (y: Tensor, _dy: Tensor) => Tensor.empty(y.device, [1]),
  (_way, y, dy) => [dy.view(y.shape)],
)

/** ∂(gradOut · define(inputs)) / ∂inputs[index], value by value. */
function differences(
  define: Bilinear['define'],
  inputs: Float64Array[],
  index: number,
  gradOut: ArrayLike<number>,
): Float64Array {
  const loss = (values: Float64Array) =>
    define(...inputs.with(index, values)).reduce((sum, value, i) => sum + value * gradOut[i], 0)
  return inputs[index].map((value, i) => {
    return (loss(inputs[index].with(i, value + 1)) - loss(inputs[index].with(i, value - 1))) / 2
  })
}

/** Fails unless every value lies within its bound; returns the largest share of a bound that one took. */
function compare(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: Float64Array,
): number {
  let share = 0
  assert.equal(actual.length, expected.length, `${what}: number of values`)
  for (let i = 0; i < actual.length; i++) {
    // Float64 itself errs in the differences of sums.
    const limit = factor * epsilon * bound[i] + 1e-12
    const error = Math.abs(actual[i] - expected[i])
    assert.ok(error <= limit, `${what}[${i}] is ${actual[i]}; expected ${expected[i]}, give or take ${limit}`)
    share = Math.max(share, error / limit)
  }
  return share
}
