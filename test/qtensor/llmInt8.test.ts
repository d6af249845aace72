import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { qint8 } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { dotTolerance } from '../../src/kernels/inputs.ts'
import { rowStride } from '../../src/kernels/quantize/quantizeRows/quantizeRows.ts'
import { quantizeOutliers } from '../../src/qtensor/dynamic.ts'
import { linear } from '../../src/qtensor/linear.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { llmInt8 } from '../../src/quantize/llmInt8.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden, readGolden } from '../golden.ts'

/* LLM.int8 as bitsandbytes computes it; made by scripts/make-bitsandbytes-fixtures.py. */

const tensors = await readGolden(join(golden, 'bitsandbytes.safetensors'))

function fixture(name: string) {
  const found = tensors.get(`int8.${name}`)
  assert.ok(found, name)
  return found
}

for (const name of deviceNames) {
  describe(`LLM.int8 on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    const floats = (part: string) => {
      const { values, shape } = fixture(part)
      return Tensor.fromArray(device, Float32Array.from(values), [...shape])
    }
    const quantized = () => QTensor.quantize(floats('weight'), qint8, null, llmInt8)

    test('a weight has the codes and the largest magnitudes of bitsandbytes', async () => {
      using weight = quantized()
      const parts = weight.parts()
      assert.deepEqual(await parts.codes.readBytes(), fixture('codes').bytes)
      assert.ok('divisor' in parts.scale && parts.scale.divisor === 127)
      assert.deepEqual(await parts.scale.values.readBytes(), fixture('SCB').bytes)
    })

    test('what is taken apart and put together again dequantizes alike: codes times scale, divided by 127', async () => {
      using weight = quantized()
      using again = QTensor.fromParts(weight.parts())
      const [codes, most] = [fixture('codes').values, fixture('SCB').values]
      const expected = Float32Array.from(codes, (code, i) =>
        Math.fround(Math.fround(code * most[Math.floor(i / 70)]) / 127),
      )
      for (const each of [weight, again, weight.clone()])
        assert.deepEqual(await each.dequantize().toNumbers(), expected)
      assert.deepEqual(
        await weight.scale().toNumbers(),
        Float32Array.from(most, (value) => Math.fround(value / 127)),
      )
    })

    for (const rows of ['rows', 'one', 'calm']) {
      test(`${rows}: codes of x bit for bit, and products`, async () => {
        const { shape, values } = fixture(`${rows}.x`)
        const [M, K] = shape
        const x = floats(`${rows}.x`)
        const [codes, scale] = quantizeOutliers(x, 6)
        const scales = await scale.toNumbers()
        const padded = await codes.readBytes()
        const theirs = fixture(`${rows}.codes`).bytes
        for (let m = 0; m < M; m++)
          assert.deepEqual(
            padded.slice(m * rowStride(K), m * rowStride(K) + K),
            theirs.slice(m * K, (m + 1) * K),
          )
        using weight = quantized()
        const y = await linear(x, weight, null, 'int8Outliers').toNumbers()
        const w = (await weight.dequantize().toNumbers()) as Float32Array
        const bounds = dotTolerance(Float32Array.from(values), w, null, M, 33, K)
        // Its constant for 1 / 127² is a little too large: that much more of the integers' part.
        const more = 6.200124e-5 * 127 ** 2 - 1
        const [xCodes, wCodes, most] = [`${rows}.codes`, 'codes', 'SCB'].map((name) => fixture(name).values)
        const integers = (m: number, n: number) => {
          let sum = 0
          for (let k = 0; k < K; k++) sum += xCodes[m * K + k] * wCodes[n * K + k]
          return (sum * scales[m] * most[n]) / 127
        }
        const { values: theirY } = fixture(`${rows}.y`)
        for (const [i, value] of y.entries()) {
          const expected = theirY[i] - more * integers(Math.floor(i / 33), i % 33)
          assert.ok(Math.abs(value - expected) <= bounds[i], `y[${i}] = ${value}, not ${expected}`)
        }
      })
    }

    test('without outliers a row is quantized whole, which costs more', async () => {
      using weight = quantized()
      const x = floats('rows.x')
      const y = async (threshold: number) => linear(x, weight, null, 'int8Outliers', threshold).toNumbers()
      const exact = Float64Array.from(await linear(x, weight).toNumbers())
      const error = (values: ArrayLike<number>) =>
        exact.reduce((sum, value, i) => sum + (value - values[i]) ** 2, 0)
      assert.ok(2 * error(await y(6)) < error(await y(0)))
    })
  })
}
