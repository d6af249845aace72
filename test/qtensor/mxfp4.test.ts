import assert from 'node:assert/strict'
import { join } from 'node:path'
import { e2m1 } from '../../src/core/qtypes.ts'
import { chooseProduct } from '../../src/qtensor/product.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { golden, readGolden } from '../golden.ts'
import { testOnDevices } from '../tensor/devices.ts'

/*
 * MXFP4 of the OCP's microscaling formats, as Hugging Face stores the experts of gpt-oss: a power of two, in
 * one byte, for each 32 codes of 4-bit floats; beside what transformers 5.23 makes of it.
 */

testOnDevices('codes of 4-bit floats and scales that are powers of two', async (device) => {
  const tensors = await readGolden(join(golden, 'mxfp4/mxfp4.safetensors'))
  const part = (name: string) => {
    const tensor = tensors.get(name)
    assert.ok(tensor, name)
    return tensor
  }
  const [experts, rows, columns] = part('dequant').shape
  const N = experts * rows
  // Byte j of a block holds values 2j and 2j + 1, the first in the low bits.
  const codes = Uint8Array.from({ length: N * columns }, (_, i) => {
    const byte = part('gate_up_proj_blocks').bytes[i >> 1]
    return i % 2 === 0 ? byte & 15 : byte >> 4
  })
  const scales = part('gate_up_proj_scales').bytes
  using stored = Tensor.fromBytes(device, codes, [N, columns], 'uint8')
  using values = Tensor.fromBytes(device, scales, [N, columns / 32], 'float8_e8m0fnu')
  using weight = QTensor.fromParts({
    type: e2m1,
    shape: [N, columns],
    dtype: 'float32',
    codes: stored,
    block: { kind: 'group', size: 32 },
    scale: { values },
  })
  using floats = weight.dequantize()
  assert.deepEqual(await floats.toNumbers(), Float32Array.from(part('dequant').values))
  // What it was given comes back, and it is multiplied as it is.
  const parts = weight.parts()
  assert.ok('values' in parts.scale)
  assert.deepEqual(Buffer.from(await parts.scale.values.readBytes()), Buffer.from(scales))
  assert.deepEqual(Buffer.from(await parts.codes.readBytes()), Buffer.from(codes))
  assert.equal(chooseProduct(weight.facts, null, 'float32').kernel, 'qmatmul')
  for (const tensor of [parts.codes, parts.scale.values]) tensor.dispose()
  assert.equal(weight.byteLength, (N * columns) / 2 + (N * columns) / 32)
})
