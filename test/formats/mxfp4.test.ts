import assert from 'node:assert/strict'
import { join } from 'node:path'
import { readSource } from '../../src/checkpoints/read.ts'
import { unstacked } from '../../src/checkpoints/stacks.ts'
import { Staging } from '../../src/checkpoints/staging.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { mxfp4 } from '../../src/formats/schemes/mxfp4.ts'
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
    const apart = unstacked(
      file,
      (path) => {
        const part = /^gate_up_proj_(blocks|scales)$/.exec(path)?.[1]
        return part === undefined ? null : { parts: [`experts.E.gate_up_proj.${part}`] }
      },
      () => expected.shape[0],
    )
    const scheme = await mxfp4.detect(new JsonObject({ quant_method: 'mxfp4' }, 'settings'), apart, true)
    const [experts, out, columns] = expected.shape
    for (let e = 0; e < experts; e++) {
      const layer = `experts.${e}.gate_up_proj`
      const weight = scheme?.layer(layer, [out, columns], 'Linear')?.weight
      assert.ok(weight)
      for (const { name, dtypes, shape } of weight.parts) {
        assert.deepEqual(apart.tensors.get(`${layer}.${name}`)?.shape, shape)
        assert.ok(dtypes.includes(apart.tensors.get(`${layer}.${name}`)?.dtype ?? 'bool'))
      }
      const origin = { kind: 'quantized', layer, weight } as const
      using read = await readSource(
        { places: [], whole: false, origin },
        { device, file: apart, staging: new Staging() },
      )
      using floats = read.dequantize()
      assert.deepEqual(floats.shape, [out, columns])
      const size = out * columns
      assert.deepEqual(
        await floats.toNumbers(),
        Float32Array.from(expected.values).slice(e * size, (e + 1) * size),
      )
    }
    await file.close()
  },
)
