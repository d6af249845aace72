import assert from 'node:assert/strict'
import { join } from 'node:path'
import { readSource } from '../../src/checkpoints/read.ts'
import { Staging } from '../../src/checkpoints/staging.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { mxfp4Experts } from '../../src/formats/schemes/mxfp4.ts'
import { golden, readGolden } from '../golden.ts'
import { testOnDevices } from '../tensor/devices.ts'

/* The experts of gpt-oss, as transformers 5.23 stores and decodes them. */

testOnDevices(
  'blocks and scales of experts become the weights that transformers makes of them',
  async (device) => {
    const folder = join(golden, 'mxfp4')
    const file = await openSafetensors(await diskFolder(folder).open('mxfp4.safetensors'))
    const expected = (await readGolden(join(folder, 'mxfp4.safetensors'))).get('dequant')
    assert.ok(expected)
    const weight = mxfp4Experts('gate_up_proj', expected.shape)
    for (const { name, dtypes, shape } of weight.parts) {
      assert.deepEqual(file.tensors.get(name)?.shape, shape)
      assert.ok(dtypes.includes(file.tensors.get(name)?.dtype ?? 'bool'))
    }
    const origin = { kind: 'quantized', layer: '', weight } as const
    using read = await readSource(
      { places: [], whole: false, origin },
      { device, file, staging: new Staging() },
    )
    using floats = read.dequantize()
    assert.deepEqual(floats.shape, expected.shape)
    assert.deepEqual(await floats.toNumbers(), Float32Array.from(expected.values))
    await file.close()
  },
)
