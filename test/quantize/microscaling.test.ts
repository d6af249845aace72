import assert from 'node:assert/strict'
import { e2m1 } from '../../src/core/qtype.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { mxfp4Minmax, nvfp4Minmax } from '../../src/quantize/microscaling.ts'
import { cast } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { layers, loadCase } from '../formats/compressedCases.ts'
import { testOnDevices } from '../tensor/devices.ts'

/* 4-bit floats and their scales are those of compressed-tensors 0.20, bit for bit. */

const variants = { mxfp4: [mxfp4Minmax, 32], nvfp4: [nvfp4Minmax, 16] } as const

testOnDevices('codes and scales of 4-bit floats are the library’s', async (device) => {
  const { values, shape } = layers.get('weight') ?? assert.fail('no weight')
  using weight = Tensor.fromNumbers(device, values, [...shape])
  for (const [name, [quantizer, groupSize]] of Object.entries(variants)) {
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const { net, weight: theirs } = await loadCase(dtype === 'float32' ? name : `${name}-bf16`, device)
      using x = cast(weight, dtype)
      using ours = QTensor.quantize(x, e2m1, groupSize, quantizer)
      const [a, b] = [ours.parts(), theirs.parts()]
      assert.equal(a.dtype, b.dtype)
      const tensors = ({ codes, scale }: typeof a) =>
        Object.entries({ codes, ...('codes' in scale ? { scales: scale.codes } : {}), values: scale.values })
      for (const [i, [part, tensor]] of tensors(a).entries()) {
        const [, other] = tensors(b)[i]
        assert.equal(tensor.dtype, other.dtype, `${name} ${dtype} ${part}`)
        const [own, their] = [await tensor.readBytes(), await other.readBytes()]
        const wrong = own.findIndex((byte, j) => byte !== their[j])
        assert.equal(wrong, -1, `${name} ${dtype} ${part}: ${own[wrong]}, not ${their[wrong]}, at ${wrong}`)
      }
      for (const parts of [a, b]) for (const [, tensor] of tensors(parts)) tensor.dispose()
      net.dispose()
    }
  }
})
