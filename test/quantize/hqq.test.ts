import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { qint2, qint4 } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { hqq } from '../../src/quantize/quantizers.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

/**
 * What `Quantizer.quantize` of hqq 0.2.8 makes of sin(i²) / 50 as [16, 24] in groups of 8, in its order:
 * codes, 1 / scale and zero point of each group.
 */
interface Item {
  axis: 0 | 1
  bits: 2 | 4
  codes: number[]
  scale: number[]
  zero: number[]
}
const items: Item[] = JSON.parse(readFileSync(new URL('hqq.json', import.meta.url), 'utf8'))
const shape = [16, 24]
const values = Float32Array.from(
  { length: 16 * 24 },
  (_, i) => Math.fround(0.02) * Math.fround(Math.sin(i * i)),
)

/** Which group the i-th value is of. */
function groupOf(i: number, axis: 0 | 1): number {
  return axis === 1 ? Math.floor(i / 8) : i % (values.length / 8)
}

for (const name of deviceNames)
  describe(`hqq's own groups on ${name}`, () => {
    for (const { axis, bits, ...theirs } of items)
      test(`axis ${axis}, ${bits} bits`, async () => {
        const device = openDevice(name, { threads: 2 })
        const weight = Tensor.fromArray(device, values, shape)
        const quantized = QTensor.quantize(
          weight,
          bits === 4 ? qint4 : qint2,
          8,
          hqq({ axis, mirror: 'hqq' }),
        )
        const codes = await quantized.codes().toNumbers()
        const scale = await quantized.scale().toNumbers()
        const shift = (await quantized.shift()?.toNumbers()) as Float64Array
        const zero = shift.map((value, g) => value / scale[g])
        for (const [g, value] of theirs.scale.entries())
          assert.ok(Math.abs(scale[g] / value - 1) <= 2 ** -22, `scale ${g} is ${scale[g]}, not ${value}`)
        assert.deepEqual([...codes], theirs.codes)
        for (const [g, value] of theirs.zero.entries())
          assert.ok(Math.abs(zero[g] - value) <= 1e-5, `zero ${g} is ${zero[g]}, not ${value}`)
        const floats = await quantized.dequantize().toNumbers()
        for (const [i, value] of floats.entries()) {
          const g = groupOf(i, axis)
          assert.ok(Math.abs(value - scale[g] * (codes[i] - zero[g])) <= 1e-8)
        }
        await device.close()
      })
  })
