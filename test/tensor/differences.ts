import assert from 'node:assert/strict'
import { Random } from '../../src/core/random.ts'
import { numel, type Shape } from '../../src/core/shape.ts'
import type { Device } from '../../src/devices/device.ts'
import { epsilon, normals } from '../../src/kernels/inputs.ts'
import { backward } from '../../src/tensor/backward.ts'
import { mul, sum } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { compareValues } from './goldenGradients.ts'

/** The function under test in plain float64: from the values of the inputs to those of the output. */
export type Reference = (...inputs: Float64Array[]) => ArrayLike<number>

/** Roundings that a value goes through, in ε of the terms that it is made of. */
const roundings = 16
const step = 1e-6

/**
 * Derivatives of every output by every value of input `k`, by central differences in float64:
 * [value][output].
 */
function jacobian(reference: Reference, inputs: Float64Array[], k: number): Float64Array[] {
  return Array.from(inputs[k], (value, i) => {
    const at = (moved: number) =>
      reference(...inputs.map((input, j) => (j === k ? input.with(i, moved) : input)))
    const [above, below] = [at(value + step), at(value - step)]
    return Float64Array.from(above, (one, o) => (one - below[o]) / (2 * step))
  })
}

/**
 * Compares `run` and its gradients on a device with a float64 reference, and the gradients with its central
 * differences. Inputs are normal values of the given shapes, `shift` added. Bounds are 16ε of the magnitudes
 * that are added: of ∂y/∂x·x for y, of dy·∂y/∂x for dx; and 1e-8 for what differences of step 1e-6 err in
 * float64. Terms within an operation that cancel, up to `inner` in size, add ε of it: differences of the
 * whole do not see them.
 */
export async function compareWithDifferences(
  device: Device,
  name: string,
  shapes: readonly Shape[],
  run: (...inputs: Tensor[]) => Tensor,
  reference: Reference,
  { shift = 0, inner = 0 } = {},
): Promise<void> {
  const random = new Random(7)
  const values = shapes.map((shape) => normals(random, numel(shape), 1, shift))
  const inputs = values.map((input) => Float64Array.from(input))
  const tensors = values.map((input, k) => Tensor.fromArray(device, input, shapes[k]))
  for (const tensor of tensors) tensor.requiresGrad = true
  const expected = Float64Array.from(reference(...inputs))
  const dy = normals(random, expected.length)
  const { y, loss } = backward(() => {
    const y = run(...tensors)
    return { y, loss: sum(mul(y.view([y.numel]), Tensor.fromArray(device, dy))) }
  })
  const size = expected.map(Math.abs)
  for (const [k, tensor] of tensors.entries()) {
    const slopes = jacobian(reference, inputs, k)
    for (const [i, row] of slopes.entries())
      for (const [o, slope] of row.entries()) size[o] += Math.abs(slope * inputs[k][i])
    assert.ok(tensor.grad, `${name}: no gradient reached input ${k}`)
    assert.deepEqual(tensor.grad.shape, tensor.shape, `${name}: shape of gradient ${k}`)
    const want = slopes.map((row) => row.reduce((total, slope, o) => total + slope * dy[o], 0))
    const bound = slopes.map((row) =>
      row.reduce(
        (total, slope, o) => total + roundings * epsilon * Math.abs(slope * dy[o]),
        1e-8 + epsilon * inner,
      ),
    )
    compareValues(`${name}: gradient ${k}`, await tensor.grad.toNumbers(), want, bound)
  }
  compareValues(
    name,
    await y.toNumbers(),
    expected,
    size.map((one) => roundings * epsilon * one),
  )
  for (const tensor of [...tensors, y, loss]) tensor.dispose()
}
