import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { ggufBlockWriter } from '../../src/formats/schemes/ggufBlockWriter.ts'
import type { LayerToWrite } from '../../src/formats/schemes/scheme.ts'
import { weightKind } from '../../src/formats/schemes/weightKind.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { Statistics } from '../../src/qtensor/quantizer.ts'
import { type GgufQuantizedType, ggufCodes, ggufQuantizer } from '../../src/quantize/ggufQuantizers.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { type GoldenTensor, golden, readGolden } from '../golden.ts'

/* From floats by way of a quantized weight to the bytes that ggml_quantize_chunk writes. */

const tensors = await readGolden(join(golden, 'single_tensor/ggml.safetensors'))
const { shape, values } = tensors.get('W') as GoldenTensor
const importance = Float32Array.from((tensors.get('imatrix') as GoldenTensor).values)
const device = openDevice(deviceNames[0], { threads: 2 })
after(() => device.close())

/** The bytes of a weight, as the writer makes them. */
async function written(weight: QTensor): Promise<{ dtype: string; bytes: Uint8Array }> {
  const kind = await weightKind(weight)
  assert.equal(ggufBlockWriter.refuses(kind), null)
  assert.equal(await ggufBlockWriter.fits?.(weight), null)
  const [part] = ggufBlockWriter.parts({ path: 'x', weight: kind } as LayerToWrite)
  const made = scope(() => keep(part.make({ device, weight, inputScale: null, outputScale: null })))
  const bytes = await device.read({ storage: made.storage, byteOffset: made.byteOffset }, made.byteLength)
  made.dispose()
  return { dtype: part.dtype, bytes }
}

test('scales and shifts beyond float16 are refused', async () => {
  const reasons = {
    Q4_0: 'its scales are float16, and some are no numbers of float16',
    Q4_1: 'its shifts are float16, and some are no numbers of float16',
    Q4_K: 'its scales are infinite as float16',
  } as const
  for (const [type, reason] of Object.entries(reasons) as [keyof typeof reasons, string][]) {
    const weight = scope(() => {
      const floats = Tensor.full(device, [1, 256], 1e9)
      return QTensor.quantize(floats, ggufCodes(type), null, ggufQuantizer(type)).keep()
    })
    assert.equal(await ggufBlockWriter.fits?.(weight), reason, type)
    weight.dispose()
  }
})

const types: GgufQuantizedType[] = [
  ...(['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'] as const),
  ...(['IQ4_NL', 'IQ4_XS', 'TQ2_0', 'MXFP4'] as const),
]

for (const type of types) {
  for (const weighted of [false, true]) {
    const expected = tensors.get(`${type}${weighted ? '.imatrix' : ''}.bytes`)
    if (!expected) continue
    test(`${type}${weighted ? ' by importance' : ''}: the bytes that ggml writes`, async () => {
      const statistics = new Statistics()
      const weight = scope(() => {
        statistics.set('squares', Tensor.fromArray(device, importance))
        statistics.set('rows', Tensor.full(device, [1], 1))
        const floats = Tensor.fromNumbers(device, Array.from(values), shape)
        const quantizer = ggufQuantizer(type, { importance: weighted })
        return QTensor.quantize(floats, ggufCodes(type), null, quantizer, statistics).keep()
      })
      const { dtype, bytes } = await written(weight)
      weight.dispose()
      statistics.dispose()
      assert.equal(dtype, type)
      assert.equal(Buffer.from(bytes).toString('hex'), Buffer.from(expected.bytes).toString('hex'))
    })
  }
}
