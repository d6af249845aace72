import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { dtypes, type FloatDType } from '../../src/core/dtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { quantoTypes } from '../../src/formats/schemes/quantoMap.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { matrixShape } from '../../src/qtensor/parts.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { deviceNames } from '../deviceNames.ts'
import { packRows } from '../formats/splitRows.ts'
import { stories } from './golden.ts'

/*
 * Two modules of stories260K in float32, float16 and bfloat16, quantized to every type: codes, scales, shifts
 * and dequantized weights bit for bit as optimum-quanto has them, which rounds every operation to the
 * weight's dtype. Made by scripts/make-quanto-golden.py.
 */
const golden = diskFolder(join(import.meta.dirname, '../golden/quanto'))
const modules = ['model.layers.0.self_attn.k_proj', 'model.layers.2.mlp.down_proj']

for (const name of deviceNames) {
  describe(`every weight dtype and type on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    for (const dtype of ['float32', 'float16', 'bfloat16'] satisfies FloatDType[]) {
      for (const qtype of quantoTypes) {
        test(`${dtype} weights to ${qtype.name}`, async () => {
          using model = await loadCausalLM(stories, { device, dtype })
          quantize(model, { weights: qtype, include: modules })
          freeze(model)
          const file = await openSafetensors(await golden.open('dtypes.safetensors'))
          for (const module of modules) {
            const weight = model.getParameter(`${module}.weight`)
            assert.ok(weight instanceof QTensor)
            const prefix = `${dtype}/${qtype.name}/${module}.weight`
            const expectSame = async (ours: Uint8Array, name: string) => {
              const theirs = await file.read(prefix + name)
              const differing = ours.reduce((count, byte, i) => count + Number(byte !== theirs[i]), 0)
              assert.ok(
                ours.length === theirs.length && differing === 0,
                `${module}${name}: ${differing} of ${theirs.length} bytes differ`,
              )
            }
            const [N, K] = matrixShape(weight.shape)
            const codes = await weight.codes().readBytes()
            if (qtype.bits === 8) await expectSame(codes, '._data')
            else await expectSame(packRows(codes, N, K, qtype.bits), '._data._data')
            await expectSame(await weight.scale().readBytes(), '._scale')
            const shift = weight.shift()
            if (shift) await expectSame(await shift.readBytes(), '._shift')
            assert.equal(file.tensors.get(`${prefix}._scale`)?.dtype, dtype)
            // Python kept every fourth row.
            const all = await weight.dequantize().readBytes()
            const rowBytes = K * dtypes[dtype].bytes
            const rows = Array.from({ length: N / 4 }, (_, i) =>
              all.subarray(4 * i * rowBytes, (4 * i + 1) * rowBytes),
            )
            await expectSame(Buffer.concat(rows), '.dequantized')
          }
          await file.close()
        })
      }
    }
  })
}
