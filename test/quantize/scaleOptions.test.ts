import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { qint4, qint8 } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import type { ScaleOptions } from '../../src/qtensor/quantizer.ts'
import { absmax, hqq, max } from '../../src/quantize/quantizers.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

/*
 * What the options of scales make of small weights, worked by hand.
 */

const device = openDevice('cpu')
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})

/** A weight quantized, and what it is made of as numbers. */
async function made(rows: number[][], options: ScaleOptions, type = qint4, quantizer = max) {
  using weight = Tensor.fromNumbers(device, rows.flat(), [rows.length, rows[0].length])
  const groupSize = options.blockRows === undefined ? null : 2
  using quantized = QTensor.quantize(weight, type, groupSize, quantizer, null, options)
  const parts = quantized.parts()
  assert.ok('values' in parts.scale && !('codes' in parts.scale))
  const { codes, scale, offset } = parts
  const zeros = offset && 'values' in offset ? offset.values : null
  const floats = quantized.dequantize()
  const numbers = async (tensor: Tensor) => Array.from(await tensor.read(), Number)
  const result = {
    codes: await numbers(codes),
    zeros: zeros && (await numbers(zeros)),
    scales: Array.from(await scale.values.toNumbers()),
    scaleDtype: scale.values.dtype,
    dtype: parts.dtype,
    floats: await numbers(floats),
  }
  for (const tensor of [codes, scale.values, zeros, floats]) tensor?.dispose()
  return result
}

test('symmetric zero points: the largest magnitude is seven and a half steps from the middle', async () => {
  const { codes, zeros, scales } = await made([[-0.9375, 0.5, 0.25, 0.125]], {
    zeroPoints: true,
    symmetric: true,
  })
  assert.deepEqual({ codes, zeros, scales }, { codes: [0, 12, 10, 9], zeros: [8], scales: [0.125] })
})

test('zero points of a range that is stretched to 0', async () => {
  const { codes, zeros, scales, floats } = await made(
    [
      [-0.25, 0.125, 1.625, 0],
      [0.5, 1.875, 1, 0.25],
    ],
    { zeroPoints: true },
  )
  assert.deepEqual(
    { codes, zeros, scales },
    { codes: [0, 3, 15, 2, 4, 15, 8, 2], zeros: [2, 0], scales: [0.125, 0.125] },
  )
  assert.deepEqual(floats, [-0.25, 0.125, 1.625, 0, 0.5, 1.875, 1, 0.25])
})

test('signed codes have zero points around 0', async () => {
  const options = { zeroPoints: true }
  const { codes, zeros, scales } = await made([[-0.5, 31.375, 0, 1]], options, qint8, absmax)
  // 31.875 / 255 = 0.125; −0.5 is code −128.
  assert.deepEqual(
    { codes, zeros, scales },
    { codes: [-128, 127, -124, -116], zeros: [-124], scales: [0.125] },
  )
})

test('scales of another dtype are those that codes are chosen for', async () => {
  const { scales, scaleDtype, dtype, codes } = await made([[-1.5, 0.2, 0.3, 0]], {
    zeroPoints: true,
    symmetric: true,
    scaleDtype: 'float16',
  })
  // The float16 nearest to 0.2.
  assert.deepEqual(
    { scales, scaleDtype, dtype },
    { scales: [0.199951171875], scaleDtype: 'float16', dtype: 'float32' },
  )
  assert.deepEqual(codes, [0, 9, 10, 8])
})

test('tiles have a scale each, those at the edges of what is there', async () => {
  const rows = [
    [127, -1, 2],
    [3, 4, 254],
    [5, -381, 508],
  ]
  const { codes, scales, floats } = await made(rows, { blockRows: 2 }, qint8, absmax)
  assert.deepEqual({ codes, scales }, { codes: [127, -1, 1, 3, 4, 127, 2, -127, 127], scales: [1, 2, 3, 4] })
  assert.deepEqual(floats, [127, -1, 2, 3, 4, 254, 6, -381, 508])
})

test('a quantizer without zero points says so', async () => {
  await assert.rejects(
    made([[1, 2, 3, 4]], { zeroPoints: true }, qint4, hqq()),
    /hqq: zero points must be among/,
  )
})
