import assert from 'node:assert/strict'
import { Random } from '../../src/core/random.ts'
import type { Device } from '../../src/devices/device.ts'
import { Experts, Router } from '../../src/nn/experts.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { GatedMLP } from '../../src/nn/mlp.ts'
import { compile } from '../../src/nn/trace.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { backward } from '../../src/tensor/backward.ts'
import { mean } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

const [hidden, size, count, perToken] = [32, 48, 5, 2]

const mlp = () => {
  const [gate, up, down] = [
    [hidden, size],
    [hidden, size],
    [size, hidden],
  ].map(([inputs, outputs]) => new Linear(inputs, outputs))
  return new GatedMLP({ gate, up, down }, { type: 'MLP', parts: {} })
}

function block(device: Device, normalized: boolean, shared: boolean): Experts {
  const experts = new Experts(
    {
      router: new Router(hidden, count, { bias: false }),
      experts: Array.from({ length: count }, mlp),
      ...(shared && { shared: mlp(), sharedGate: new Linear(hidden, 1, { bias: false }) }),
    },
    { perToken, normalized },
    { type: 'Experts', parts: {} },
  )
  initialize(experts, device, { seed: 7 })
  return experts
}

type Matrix = number[][]
interface Layer {
  weight: Matrix
  bias: number[] | null
}

async function layerAt(model: Experts, path: string): Promise<Layer> {
  const rows = async (name: string): Promise<Matrix> => {
    const parameter = model.getParameter(`${path}.${name}`)
    const floats = parameter.dequantize()
    const values = [...(await floats.toNumbers())]
    if (floats !== parameter) floats.dispose()
    const columns = parameter.shape.at(-1) as number
    return Array.from({ length: values.length / columns }, (_, r) =>
      values.slice(r * columns, (r + 1) * columns),
    )
  }
  const has = [...model.namedParameters()].some(([name]) => name === `${path}.bias`)
  return { weight: await rows('weight'), bias: has ? (await rows('bias'))[0] : null }
}

const times = ({ weight, bias }: Layer, x: number[]) =>
  weight.map((row, n) => row.reduce((sum, w, k) => sum + w * x[k], bias?.[n] ?? 0))
const softmax = (scores: number[]) => {
  const parts = scores.map((score) => Math.exp(score))
  const sum = parts.reduce((a, b) => a + b)
  return parts.map((part) => part / sum)
}

/** The block's formula in float64. */
async function expected(model: Experts, x: Matrix, normalized: boolean, shared: boolean): Promise<number[]> {
  const layers = async (path: string) => ({
    gate: await layerAt(model, `${path}.gate`),
    up: await layerAt(model, `${path}.up`),
    down: await layerAt(model, `${path}.down`),
  })
  const feed = ({ gate, up, down }: Awaited<ReturnType<typeof layers>>, row: number[]) => {
    const values = times(up, row)
    return times(
      down,
      times(gate, row).map((z, i) => (z / (1 + Math.exp(-z))) * values[i]),
    )
  }
  const router = await layerAt(model, 'router')
  const experts = await Promise.all(Array.from({ length: count }, (_, e) => layers(`experts.${e}`)))
  const sharedLayers = shared ? await layers('shared') : null
  const sharedGate = shared ? await layerAt(model, 'sharedGate') : null
  return x.flatMap((row) => {
    const scores = times(router, row)
    const chosen = scores
      .map((_, e) => e)
      .sort((a, b) => scores[b] - scores[a])
      .slice(0, perToken)
    const all = softmax(scores)
    const weights = normalized ? softmax(chosen.map((e) => scores[e])) : chosen.map((e) => all[e])
    const y = new Array<number>(hidden).fill(0)
    const addTo = (values: number[], weight: number) => {
      for (const [i, value] of values.entries()) y[i] += weight * value
    }
    for (const [i, e] of chosen.entries()) addTo(feed(experts[e], row), weights[i])
    if (sharedLayers && sharedGate)
      addTo(feed(sharedLayers, row), 1 / (1 + Math.exp(-times(sharedGate, row)[0])))
    return y
  })
}

/** Rows of the normal distribution; few and many, so that experts have none, one or several. */
function inputs(device: Device, rows: number): { x: Tensor; numbers: Matrix } {
  const random = new Random(rows)
  const values = Float32Array.from({ length: rows * hidden }, () => random.normal())
  const numbers = Array.from({ length: rows }, (_, r) => [...values.slice(r * hidden, (r + 1) * hidden)])
  return { x: Tensor.fromNumbers(device, values, [rows, hidden]), numbers }
}

async function checkOutput(y: Tensor, truth: number[]): Promise<void> {
  const values = await y.toNumbers()
  const norm = Math.sqrt(truth.reduce((sum, value) => sum + value * value, 0) / truth.length)
  for (const [i, value] of truth.entries())
    assert.ok(Math.abs(values[i] - value) <= 20 * 2 ** -23 * norm * 4, `${i}: ${values[i]}, not ${value}`)
}

testOnDevices('the chosen experts of each token, weighted and added', async (device) => {
  for (const [normalized, shared] of [
    [true, false],
    [false, true],
  ])
    for (const rows of [1, 3, 40]) {
      using model = block(device, normalized, shared)
      const { x, numbers } = inputs(device, rows)
      const truth = await expected(model, numbers, normalized, shared)
      {
        using y = model.forward(x)
        await checkOutput(y, truth)
      }
      // A watcher has to see each expert's layers.
      let seen = 0
      using _ = model.getModule('experts.0.down').observe({ output: () => void seen++ })
      using y = model.forward(x)
      await checkOutput(y, truth)
      assert.equal(seen, 1)
      x.dispose()
    }
})

testOnDevices('quantized experts; the router stays a float', async (device) => {
  for (const weights of ['int8', 'int4', 'float8'] as const) {
    using model = block(device, true, false)
    const paths = quantize(model, { weights, groupSize: weights === 'int4' ? 16 : null })
    assert.equal(paths.length, 3 * count)
    assert.ok(!paths.includes('router'))
    const { x, numbers } = inputs(device, 9)
    freeze(model)
    const truth = await expected(model, numbers, true, false)
    using y = model.forward(x)
    await checkOutput(y, truth)
    x.dispose()
  }
})

testOnDevices('rows rounded to int8, grouped and one by one', async (device) => {
  using model = block(device, false, false)
  quantize(model, { weights: 'int4', groupSize: 16, computeDtype: 'int8' })
  freeze(model)
  const { x } = inputs(device, 12)
  using grouped = model.forward(x)
  using _ = model.experts[3].observe({})
  using single = model.forward(x)
  const [a, b] = [await grouped.toNumbers(), await single.toNumbers()]
  // The same integers; the floats around them are added in another order.
  for (const [i, value] of a.entries()) assert.ok(Math.abs(value - b[i]) <= 1e-5, `${i}: ${value}, ${b[i]}`)
  x.dispose()
})

testOnDevices('a recorded step sends other inputs to other experts', async (device) => {
  using model = block(device, true, true)
  quantize(model, { weights: 'int8' })
  freeze(model)
  const { x, numbers } = inputs(device, 4)
  const { x: other, numbers: others } = inputs(device, 5)
  const rest = other.rows(0, 4)
  using step = compile(model, [x])
  await checkOutput(step.run(x) as Tensor, await expected(model, numbers, true, true))
  await checkOutput(step.run(rest) as Tensor, await expected(model, others.slice(0, 4), true, true))
  x.dispose()
  other.dispose()
})

testOnDevices('gradients of experts and router', async (device) => {
  using model = block(device, true, false)
  const { x } = inputs(device, 24)
  for (const parameter of model.parameters()) if (parameter instanceof Tensor) parameter.requiresGrad = true
  backward(() => mean(model.forward(x))).dispose()
  const gradient = async (path: string) => {
    const parameter = model.getParameter(path)
    assert.ok(parameter instanceof Tensor && parameter.grad, path)
    return [...(await parameter.grad.toNumbers())]
  }
  // The weights of a token's experts sum to 1, whatever the scores.
  const biases = await Promise.all(
    Array.from({ length: count }, (_, e) => gradient(`experts.${e}.down.bias`)),
  )
  for (let n = 0; n < hidden; n++) {
    const sum = biases.reduce((total, each) => total + each[n], 0)
    assert.ok(Math.abs(sum - 1 / hidden) < 1e-6, `${sum}`)
  }
  const scores = await gradient('router.weight')
  assert.ok(scores.some((value) => Math.abs(value) > 1e-4))
  for (let k = 0; k < hidden; k++) {
    const sum = Array.from({ length: count }, (_, e) => scores[e * hidden + k]).reduce((a, b) => a + b)
    assert.ok(Math.abs(sum) < 1e-6, `${sum}`)
  }
  x.dispose()
})
