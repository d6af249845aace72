import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { qfloat8, qint8 } from '../../src/core/qtype.ts'
import { DeviceHistogram } from '../../src/quantize/histogram.ts'
import { entropy, mse, percentile } from '../../src/quantize/observers.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

/** What numpy makes of three distributions (scripts/make-observer-fixtures.py). */
interface Golden {
  name: 'even' | 'bell' | 'tails'
  sum: number
  largest: number
  percentiles: Record<string, number>
  absmaxError: number
  mse: { scale: number; error: number }
  entropy: { bins: number; width: number }
}

const file = join(import.meta.dirname, '../golden/observers.json')
const { cases }: { cases: Golden[] } = JSON.parse(readFileSync(file, 'utf8'))

const count = 20000
const uniform = (multiplier: number, i: number) => (Math.imul(i + 1, multiplier) >>> 0) / 2 ** 31 - 1
const distributions = {
  even: (i: number) => uniform(2654435761, i),
  bell: (i: number) =>
    uniform(2654435761, i) + uniform(2246822519, i) + uniform(3266489917, i) + uniform(668265263, i),
  tails: (i: number) => uniform(2654435761, i) / (1.01 - Math.abs(uniform(2654435761, i))),
}

/** Σ (x − scale · q)² of the values themselves. */
function squaredError(x: Float32Array, scale: number): number {
  return x.reduce((sum, value) => {
    const units = Math.min(Math.max(value / scale, -127), 127)
    return sum + (value - scale * Math.round(units)) ** 2
  }, 0)
}

for (const golden of cases) {
  const x = Float32Array.from({ length: count }, (_, i) => distributions[golden.name](i))

  testOnDevices(`${golden.name}: scales beside numpy's`, async (device) => {
    const ours = x.reduce((sum, value) => sum + Math.abs(value), 0)
    assert.ok(Math.abs(ours / golden.sum - 1) < 1e-12, 'the same values')
    const histogram = new DeviceHistogram(device)
    // Small magnitudes first, so that the range grows; in three batches.
    const sorted = x.toSorted((a, b) => Math.abs(a) - Math.abs(b))
    for (const [first, end] of [
      [0, 100],
      [100, 12001],
      [12001, count],
    ] as const)
      histogram.add(Tensor.fromArray(device, sorted.slice(first, end)))
    const read = await histogram.read()
    histogram.dispose()
    assert.equal(read.largest, golden.largest)
    assert.equal(read.width, golden.entropy.width)
    const whole = new DeviceHistogram(device)
    whole.add(Tensor.fromArray(device, x))
    assert.deepEqual(await whole.read(), read, 'whatever the batches')
    whole.dispose()

    for (const [percent, expected] of Object.entries(golden.percentiles)) {
      const threshold = 127 * percentile({ percent: Number(percent) })(read, qint8)
      // Both lie between the same two values, or in bins of theirs; at 20,000 values the gaps in the tails
      // are wider than bins.
      const rank = (Number(percent) / 100) * (count - 1)
      const [below, above] = [Math.floor(rank) - 1, Math.ceil(rank) + 1].map((r) =>
        Math.abs(sorted[Math.min(Math.max(r, 0), count - 1)]),
      )
      const limit = read.width + (above - below)
      assert.ok(
        Math.abs(threshold - expected) <= limit,
        `${percent} %: ${threshold}, numpy's ${expected}, give or take ${limit}`,
      )
    }

    // The scale that numpy finds lies on another grid, and the minimum is flat: what counts is the error of
    // the values themselves.
    const scale = mse(read, qint8)
    const error = squaredError(x, scale)
    assert.ok(error <= 1.01 * golden.mse.error, `squared error ${error}, the least ${golden.mse.error}`)
    assert.ok(Math.abs(squaredError(x, golden.largest / 127) / golden.absmaxError - 1) < 1e-6)

    const threshold = Math.min(golden.entropy.bins * golden.entropy.width, golden.largest)
    assert.equal(entropy(read, qint8), threshold / 127, 'entropy')
  })
}

test('a histogram by hand', () => {
  // 90 values up to 1, 8 up to 2, none up to 3, 2 up to 4.
  const histogram = { counts: Int32Array.of(90, 8, 0, 2), width: 1, largest: 3.5 }
  const threshold = (percent: number) => 127 * percentile({ percent })(histogram, qint8)
  const close = (actual: number, expected: number) =>
    assert.ok(Math.abs(actual - expected) < 1e-12, `${actual}, by hand ${expected}`)
  close(threshold(45), 0.5)
  close(threshold(94), 1.5)
  close(threshold(98), 2)
  close(threshold(99), 3.5)
  close(threshold(100), 3.5)
  assert.throws(() => percentile({ percent: 0 }), {
    message: 'percentile: percent must lie in 0..100, 0 excluded; received 0',
  })
  assert.throws(() => entropy(histogram, qfloat8), {
    message: 'entropy: activations must be int8, whose levels are evenly spaced; received qfloat8_e4m3fn',
  })
  // 100,000 values up to 40 and one far out: to hold it costs each of the others scale² / 12, to cut it off
  // (100 − 127 · scale)².
  const outlier = {
    counts: new Int32Array(2048).fill(125, 0, 800).fill(1, 2000, 2001),
    width: 0.05,
    largest: 100.05,
  }
  const scale = mse(outlier, qint8)
  // The derivative of 1e5 · s² / 12 + (100.025 − 127 · s)² is 0 there. Of some 77 steps the last is cut
  // anywhere, which is worth 0.16 % of the error and so moves the minimum by up to 2.9 %; the candidates are
  // 1 % apart.
  const best = (127 * 100.025) / (1e5 / 12 + 127 ** 2)
  assert.ok(Math.abs(scale / best - 1) < 0.034, `${scale}, by hand ${best}`)
})
