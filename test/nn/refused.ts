import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { relu } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

/*
 * A network to misuse, and the check that it is refused in one sentence.
 */

export const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

export class Net extends Module {
  first = new Linear(64, 32)
  second = new Linear(32, 10)

  forward(x: Tensor): Tensor {
    return scope(() => this.second.forward(relu(this.first.forward(x))))
  }
}

export const numbers = (shape: number[], value = (i: number) => Math.sin(i)) =>
  Tensor.fromNumbers(
    device,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i)),
    shape,
  )
export const net = () => initialize(new Net(), device)
export const rows = (count: number, value?: (i: number) => number) => numbers([count, 64], value)
export const int8 = { weights: 'int8', activations: 'int8' } as const
export function quantized(options: QuantizeOptions = int8): Net {
  const model = net()
  quantize(model, options)
  return model
}
export const labels = (...values: number[]) => Tensor.fromArray(device, Int32Array.from(values))

/** Something wrong, and what must be said of it. */
export interface Case {
  name: string
  run: () => unknown
  /** All of the message. */
  says: string
}

/** Runs the cases, group by group, and prints every message. */
export function refuse(groups: Record<string, readonly Case[]>): void {
  for (const [group, cases] of Object.entries(groups)) {
    test(`bad input: ${group}`, async (t) => {
      for (const { name, run, says } of cases) {
        await t.test(name, async () => {
          const error: unknown = await (async () => run())().then(
            () => assert.fail('nothing was refused'),
            (error) => error,
          )
          assert.ok(error instanceof Error)
          t.diagnostic(`${name} → ${error.name}: ${error.message}`)
          assert.match(error.name, /^(Shape|DType|Format|Device)Error$/)
          assert.equal(error.message, says)
        })
      }
    })
  }
}
