import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { type PadMode, pad } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { checkBilinear } from './bilinear.ts'

const devices = [openDevice('cpu', { threads: 2 }), openDevice('wasm', { threads: 1 })]
after(() => Promise.all(devices.map((device) => device.close())))

/**
 * [[1, 2, 3], [4, 5, 6]] with two columns on the left, one on the right, one row on top; written down from
 * torch 2.15's F.pad.
 */
const padded: Record<PadMode, number[]> = {
  zeros: [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 4, 5, 6, 0],
  reflect: [6, 5, 4, 5, 6, 5, 3, 2, 1, 2, 3, 2, 6, 5, 4, 5, 6, 5],
  replicate: [1, 1, 1, 2, 3, 3, 1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6, 6],
  circular: [5, 6, 4, 5, 6, 4, 2, 3, 1, 2, 3, 1, 5, 6, 4, 5, 6, 4],
}

for (const device of devices) {
  for (const [mode, values] of Object.entries(padded) as [PadMode, number[]][]) {
    test(`${device.name}: pad with ${mode} and its gradient`, async () => {
      const x = Tensor.fromNumbers(device, [1, 2, 3, 4, 5, 6], [2, 3])
      const y = pad(x, [2, 1, 1, 0], mode)
      assert.deepEqual([y.shape, [...(await y.toNumbers())]], [[3, 6], values])
      for (const tensor of [x, y]) tensor.dispose()
      await checkBilinear(device, {
        inputs: { x: { shape: [2, 3], values: [1, 2, 3, 4, 5, 6] } },
        gradOut: Array.from({ length: 18 }, (_, i) => i + 1),
        forward: ({ x }) => pad(x, [2, 1, 1, 0], mode),
        // Every value of the picture above is the one that x numbers so.
        define: (x) => Float64Array.from(values, (value) => (value === 0 ? 0 : x[value - 1])),
      })
    })
  }

  test(`${device.name}: borders that do not fit are refused`, () => {
    const x = Tensor.empty(device, [2, 3])
    assert.throws(() => pad(x, [3, 0], 'reflect'), {
      name: 'ShapeError',
      message: 'pad: a border of reflect must lie in 0..2 and leave something; received 3 and 0 for [2,3]',
    })
    assert.throws(() => pad(x, [0, 0, 0, 3], 'circular'), /must lie in 0\.\.2/)
    assert.throws(() => pad(x, [-2, -1]), /must lie in -3\.\.Infinity and leave something/)
    x.dispose()
  })
}
