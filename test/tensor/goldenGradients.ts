import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Shape } from '../../src/core/shape.ts'
import type { Device } from '../../src/devices/device.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { backward } from '../../src/tensor/backward.ts'
import { mul, sum } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { boundRow } from '../goldenTable.ts'

/**
 * What PyTorch computed: for each operation inputs, output, a gradient of the output, and the gradients of
 * the inputs, float32.
 */
const goldens = join(import.meta.dirname, '../golden')

interface Manifest {
  ops: { name: string; call: string; inputs?: string[]; int_inputs?: string[]; extra?: string[] }[]
}

/** One tensor of the file: class indices are int32 here, all else float32. */
export interface GoldenTensor {
  shape: Shape
  values: Float32Array | Int32Array
}

/**
 * One operation's tensors by the last part of their names: `in.x`, `out`, `grad_out`, `grad.x`, and extras.
 */
export interface GoldenOp {
  name: string
  /** Names of the float inputs, which have gradients, and of the integer ones, which have none. */
  inputs: readonly string[]
  integers: readonly string[]
  tensors: ReadonlyMap<string, GoldenTensor>
}

/** Reads the golden of one operation; the manifest of the set lists their names. */
export async function goldenOp(name: string, set = 'gradients'): Promise<GoldenOp> {
  const folder = join(goldens, set)
  const manifest: Manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'))
  const op = manifest.ops.find((entry) => entry.name === name)
  assert.ok(op, `no golden of ${name}`)
  const file = await openSafetensors(await diskFolder(folder).open('gradients.safetensors'))
  const tensors = new Map<string, GoldenTensor>()
  for (const { name: path, dtype, shape } of file.tensors.values()) {
    if (!path.startsWith(`${name}.`)) continue
    const bytes = (await file.read(path)).slice().buffer
    const values =
      dtype === 'int64' ? Int32Array.from(new BigInt64Array(bytes), Number) : new Float32Array(bytes)
    tensors.set(path.slice(name.length + 1), { shape, values })
  }
  await file.close()
  return { name, inputs: op.inputs ?? [], integers: op.int_inputs ?? [], tensors }
}

/** The values under `key`, which must be there, as numbers. */
export function goldenValues(op: GoldenOp, key: string): Float64Array {
  const tensor = op.tensors.get(key)
  assert.ok(tensor, `${op.name} has no ${key}`)
  return Float64Array.from(tensor.values)
}

/** The tensor under `key` on a device. */
export function goldenTensor(device: Device, op: GoldenOp, key: string): Tensor {
  const tensor = op.tensors.get(key)
  assert.ok(tensor, `${op.name} has no ${key}`)
  return Tensor.fromArray(device, tensor.values, tensor.shape)
}

/**
 * Runs `forward` on an operation's inputs and back from the golden gradient of its output, and compares the
 * output and every gradient with PyTorch's, value by value. `bound(key)` says how far each value of `out` and
 * `grad.<input>` may lie off.
 */
export async function compareWithGolden(
  device: Device,
  op: GoldenOp,
  forward: (inputs: Record<string, Tensor>) => Tensor,
  bound: (key: string) => ArrayLike<number> | number,
): Promise<void> {
  const inputs: Record<string, Tensor> = {}
  for (const name of [...op.inputs, ...op.integers]) inputs[name] = goldenTensor(device, op, `in.${name}`)
  for (const name of op.inputs) inputs[name].requiresGrad = true
  const gradOut = goldenTensor(device, op, 'grad_out')
  const { loss, y } = backward(() => {
    const y = forward(inputs)
    return { loss: sum(mul(y, gradOut)), y }
  })
  let share = compareValues(`${op.name} out`, await y.toNumbers(), goldenValues(op, 'out'), bound('out'))
  for (const name of op.inputs) {
    const gradient = inputs[name].grad
    assert.ok(gradient, `${op.name}: no gradient reached ${name}`)
    assert.deepEqual(gradient.shape, inputs[name].shape, `${op.name}: shape of the gradient of ${name}`)
    const expected = goldenValues(op, `grad.${name}`)
    share = Math.max(
      share,
      compareValues(`${op.name} grad.${name}`, await gradient.toNumbers(), expected, bound(`grad.${name}`)),
    )
  }
  boundRow(op.name, device.name, 'output and gradients', share)
  for (const tensor of [loss, y, gradOut, ...Object.values(inputs)]) tensor.dispose()
}

/**
 * Fails unless every value lies within its bound of the expected one (NaN equals NaN); gives the largest
 * share of a bound.
 */
export function compareValues(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: ArrayLike<number> | number,
): number {
  let share = 0
  assert.equal(actual.length, expected.length, `${what}: number of values`)
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i])) continue
    const limit = typeof bound === 'number' ? bound : bound[i]
    const error = Math.abs(actual[i] - expected[i])
    assert.ok(error <= limit, `${what}[${i}] is ${actual[i]}; expected ${expected[i]}, give or take ${limit}`)
    if (error > 0) share = Math.max(share, error / limit)
  }
  return share
}
