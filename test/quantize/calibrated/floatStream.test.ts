import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { quantizeCalibrated } from '../../../src/models/quantizeCalibrated.ts'
import { initialize } from '../../../src/nn/initialize.ts'
import { Linear } from '../../../src/nn/linear.ts'
import { Module } from '../../../src/nn/module.ts'
import type { Quantizer, Statistics } from '../../../src/qtensor/quantizer.ts'
import { quantizers } from '../../../src/quantize/quantizers.ts'
import { relu } from '../../../src/tensor/ops/index.ts'
import { keep, scope } from '../../../src/tensor/scope.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

class Block extends Module {
  first = new Linear(32, 32)
  second = new Linear(32, 32)
  forward(x: Tensor): Tensor {
    return scope(() => this.second.forward(relu(this.first.forward(x))))
  }
}
class Net extends Module {
  blocks = [new Block(), new Block(), new Block()]
  forward(x: Tensor): Tensor {
    return scope(() => this.blocks.reduce((y, block) => block.forward(y), x))
  }
}

test('a quantizer that sees the float model hears what its layers take there, group by group', async () => {
  const model = initialize(new Net(), device, { seed: 1 })
  const values = Float32Array.from({ length: 20 * 32 }, (_, i) => Math.sin(i * i))
  const data = [0, 1].map((i) =>
    Tensor.fromNumbers(
      device,
      values.map((value) => value + i),
      [20, 32],
    ),
  )
  const original = model.clone()
  /** What each layer took in the float model. */
  const expected = new Map<string, Float32Array[]>()
  for (const [path, module] of original.namedModules()) {
    if (!(module instanceof Linear)) continue
    const taken: Tensor[] = []
    using _ = module.observe({ input: ([x]) => taken.push(keep((x as Tensor).clone())) })
    for (const x of data) scope(() => void original.forward(x))
    expected.set(path, await Promise.all(taken.map((x) => x.toNumbers() as Promise<Float32Array>)))
  }
  const seen: [quantized: Tensor, float: Tensor][][] = []
  const quantizer: Quantizer = {
    ...quantizers.max,
    seesFloat: true,
    collects(x, statistics, float) {
      assert.ok(float)
      const count = [...statistics.values()].length / 2
      statistics.set(`x ${count}`, x.clone())
      statistics.set(`float ${count}`, float.clone())
    },
    solve(weight, spec, statistics) {
      const of = (name: string) => keep((statistics as Statistics).get(name)?.clone() as Tensor)
      if (statistics) seen.push([0, 1].map((i) => [of(`x ${i}`), of(`float ${i}`)]))
      return quantizers.max.solve(weight, spec)
    },
  }
  const algorithm = {
    name: 'seeing',
    options: { weights: 'int2', groupSize: 32 },
    quantizer,
    trueSequential: true,
  } as const
  const reports = await quantizeCalibrated(model, { algorithm, data })
  assert.deepEqual(
    reports.map(({ path }) => path),
    [...expected.keys()],
  )
  for (const [l, { path }] of reports.entries())
    for (const [i, [x, float]] of seen[l].entries()) {
      const [a, b, c] = [await float.toNumbers(), expected.get(path)?.[i] ?? [], await x.toNumbers()]
      const distance = (p: ArrayLike<number>) =>
        Math.hypot(...Array.from(b, (value, j) => value - p[j])) / Math.hypot(...b)
      // What quantized layers before it gave is something else.
      assert.ok(distance(a) < 2 ** -10, `${path}: ${distance(a)}`)
      assert.equal(distance(c) > 0.1, l > 0, `${path}: ${distance(c)}`)
    }
})
