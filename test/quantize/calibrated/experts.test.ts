import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { quantizeCalibrated } from '../../../src/models/quantizeCalibrated.ts'
import { Experts, Router } from '../../../src/nn/experts.ts'
import { initialize } from '../../../src/nn/initialize.ts'
import { Linear } from '../../../src/nn/linear.ts'
import { GatedMLP } from '../../../src/nn/mlp.ts'
import { Module } from '../../../src/nn/module.ts'
import { QLinear } from '../../../src/nn/qlinear.ts'
import type { Quantizer } from '../../../src/qtensor/quantizer.ts'
import { freeze, quantize } from '../../../src/quantize/quantize.ts'
import { quantizers } from '../../../src/quantize/quantizers.ts'
import { keep } from '../../../src/tensor/scope.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

const [hidden, size, count, perToken] = [32, 64, 5, 2]

class Net extends Module {
  mixture = new Experts(
    {
      router: new Router(hidden, count, { bias: false }),
      experts: Array.from({ length: count }, () => {
        // Biases: what they make of rows of zeros is no token of the expert's.
        const [gate, up] = [new Linear(hidden, size), new Linear(hidden, size)]
        return new GatedMLP({ gate, up, down: new Linear(size, hidden) }, { type: 'MLP', parts: {} })
      }),
    },
    { perToken, normalized: true },
    { type: 'Experts', parts: {} },
  )
  forward(x: Tensor): Tensor {
    return this.mixture.forward(x)
  }
}

const net = () => initialize(new Net(), device, { seed: 3 })
const rows = (M: number) =>
  Tensor.fromNumbers(
    device,
    Float32Array.from({ length: M * hidden }, (_, i) => Math.sin(i * i)),
    [M, hidden],
  )

/** Which experts each row goes to, by the scores of the router. */
async function routes(x: Tensor): Promise<number[][]> {
  const scores = await net().mixture.router.forward(x).toNumbers()
  return Array.from({ length: x.shape[0] }, (_, m) => {
    const own = [...scores.slice(m * count, (m + 1) * count)]
    return own
      .map((_, e) => e)
      .sort((a, b) => own[b] - own[a])
      .slice(0, perToken)
  })
}

/** Rounds, and keeps the inputs that it was shown, by the number of its columns. */
function recording(taken: Map<string, Tensor>): Quantizer {
  return {
    ...quantizers.max,
    collects: (x, statistics) => statistics.set('x', x.clone()),
    solve(weight, spec, statistics) {
      const x = statistics?.get('x')
      if (x) taken.set(`${weight.shape} ${taken.size}`, keep(x.clone()))
      return quantizers.max.solve(weight, spec)
    },
  }
}

for (const trueSequential of [false, true])
  test(`experts are shown their own rows alone, ${trueSequential ? 'group by group' : 'in one pass'}`, async () => {
    const x = rows(80)
    const taken = new Map<string, Tensor>()
    const algorithm = {
      name: 'recording',
      options: { weights: 'int4', groupSize: 32 },
      quantizer: recording(taken),
      trueSequential,
    } as const
    const warnings: string[] = []
    const reports = await quantizeCalibrated(net(), {
      algorithm,
      data: [x],
      onWarning: (message) => warnings.push(message),
    })
    const routed = await routes(x)
    for (let e = 0; e < count; e++) {
      const mine = routed.map((chosen) => chosen.includes(e))
      for (const part of ['gate', 'up', 'down']) {
        const report = reports.find(({ path }) => path === `mixture.experts.${e}.${part}`)
        assert.equal(report?.tokens, mine.filter(Boolean).length)
      }
    }
    assert.deepEqual(warnings, [])
    // Solved were gate and up of an expert, then its down; or all of the first, then all of the second.
    const downs = [...taken].filter(([name]) => name.startsWith(`${hidden},${size} `)).map(([, x]) => x)
    assert.equal(downs.length, count)
    for (const [e, down] of downs.entries()) {
      const values = await down.toNumbers()
      for (const [m, chosen] of routed.entries()) {
        const isZero = values.slice(m * size, (m + 1) * size).every((value) => value === 0)
        assert.equal(isZero, !chosen.includes(e), `row ${m} of expert ${e}`)
      }
    }
  })

test('experts that saw few tokens are told of, and those without any are rounded', async () => {
  const x = rows(1)
  const [chosen] = await routes(x)
  const model = net()
  const warnings: string[] = []
  const algorithm = {
    name: 'recording',
    options: { weights: 'int4', groupSize: 32 },
    quantizer: recording(new Map()),
  } as const
  await quantizeCalibrated(model, { algorithm, data: [x], onWarning: (message) => warnings.push(message) })
  const listed = Array.from({ length: count }, (_, e) => `mixture.experts.${e} ${chosen.includes(e) ? 1 : 0}`)
  assert.deepEqual(warnings, [
    `quantizeCalibrated: experts saw few tokens, and are rounded where none came: ${listed.join(', ')}; take more data`,
  ])
  const rounded = net()
  quantize(rounded, { weights: 'int4', groupSize: 32 })
  freeze(rounded)
  const weightAt = async (from: Net, path: string) => {
    const layer = from.getModule(path)
    assert.ok(layer instanceof QLinear)
    return layer.weight.dequantize().toNumbers()
  }
  for (let e = 0; e < count; e++)
    assert.deepEqual(
      await weightAt(model, `mixture.experts.${e}.down`),
      await weightAt(rounded, `mixture.experts.${e}.down`),
    )
})
