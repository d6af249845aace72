import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { quantizeCalibrated } from '../../../src/models/quantizeCalibrated.ts'
import { initialize } from '../../../src/nn/initialize.ts'
import { Linear } from '../../../src/nn/linear.ts'
import { Sequential } from '../../../src/nn/sequential.ts'
import { gptaq } from '../../../src/quantize/algorithms/gptaq.ts'
import { gptq } from '../../../src/quantize/algorithms/gptq.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'
import { deviceNames } from '../../deviceNames.ts'

/*
 * Data that say little, which no run may fail of: columns that are always 0, statistics without an inverse, one
 * token.
 */

const device = openDevice(deviceNames[0], { threads: 1 })
after(() => device.close())

const [rows, columns] = [24, 32]
const net = () => initialize(new Sequential(new Linear(columns, 8)), device, { seed: 1 })
const numbers = async (weight: { dequantize(): Tensor }) => Array.from(await weight.dequantize().toNumbers())

/** A batch whose value in row m and column k is `value(m, k)`. */
function batch(value: (m: number, k: number) => number, count = rows): Tensor {
  const values = Array.from({ length: count * columns }, (_, i) =>
    value(Math.floor(i / columns), i % columns),
  )
  return Tensor.fromNumbers(device, values, [count, columns])
}

async function solved(data: Tensor, algorithm: ReturnType<typeof gptq>) {
  using model = net()
  const float = await numbers(model.getParameter('0.weight'))
  const warnings: string[] = []
  const onWarning = (message: string) => warnings.push(message)
  const [report] = await quantizeCalibrated(model, { algorithm, data: [data], onWarning })
  const weights = await numbers(model.getParameter('0.weight'))
  assert.ok(weights.every(Number.isFinite))
  return { float, weights, report, warnings }
}

const wave = (m: number, k: number) => Math.sin(m * (k + 3) + k * k)

for (const actOrder of [false, true, 'static', 'group-aware'] as const)
  test(`columns without inputs are 0, as GPTQModel makes them: actOrder ${actOrder}`, async () => {
    const dead = [3, 17]
    const data = batch((m, k) => (dead.includes(k) ? 0 : wave(m, k)))
    const { float, weights, report } = await solved(data, gptq({ groupSize: 16, actOrder }))
    for (const [i, value] of weights.entries()) {
      const isDead = dead.includes(i % columns)
      assert.ok(isDead ? value === 0 : Math.abs(value - float[i]) < 0.2, `${i}: ${value} for ${float[i]}`)
    }
    assert.ok((report.error ?? 1) < 0.1)
  })

for (const [name, algorithm] of Object.entries({ gptq, gptaq }))
  test(`${name}: statistics that cannot be inverted, even without damping`, async () => {
    // All columns are one, so that the second derivatives have rank 1.
    const data = batch((m) => wave(m, 1))
    for (const dampPercent of [0, 0.01]) {
      const { report } = await solved(data, algorithm({ groupSize: 16, dampPercent }))
      assert.ok((report.error ?? 1) <= (report.errorRounded ?? 0), JSON.stringify(report))
    }
  })

test('one token is enough to round by, and is told', async () => {
  const { report, warnings } = await solved(batch(wave, 1), gptq({ groupSize: 16 }))
  assert.equal(report.tokens, 1)
  assert.ok((report.error ?? 1) <= (report.errorRounded ?? 0), JSON.stringify(report))
  assert.deepEqual(warnings, [
    'quantizeCalibrated: statistics of 32 columns are of 1 token: too few to tell these apart; take more data',
  ])
})
