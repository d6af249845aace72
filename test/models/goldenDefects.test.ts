import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { deviceNames } from '../deviceNames.ts'
import { forward64, readPlain } from './float64Llama.ts'
import { copyOf, damage, golden, inputs, manifest, pythonFolder, readExpected } from './golden.ts'
import { checkLogits, checkParts, checkPerplexity, checkWeights, logitsOf } from './goldenChecks.ts'

/*
 * The golden tests must see small faults: each of these is put into a folder that Python wrote, and every
 * check must refuse it.
 */

interface Defect {
  what: string
  tensor: string
  change: (bytes: Uint8Array) => void
}

const doubled = (tensor: string): Defect => ({
  what: 'one scale doubled',
  tensor,
  // One more in the exponent of the first scale, a float32.
  change: (bytes) =>
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(
      0,
      new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) + (1 << 23),
      true,
    ),
})

/** The first byte whose two codes differ has them swapped. */
function swapNibbles(bytes: Uint8Array): void {
  const i = bytes.findIndex((byte) => byte >> 4 !== (byte & 15))
  bytes[i] = (bytes[i] >> 4) | ((bytes[i] & 15) << 4)
}

const layer = 'model.layers.2.self_attn.v_proj.weight'
const plantedDefects: Record<string, Defect[]> = {
  'quanto-qint4': [
    doubled(`${layer}._scale`),
    { what: 'one pair of nibbles swapped', tensor: `${layer}._data._data`, change: swapNibbles },
  ],
  'quanto-qint8': [
    doubled(`${layer}._scale`),
    {
      what: 'one code off by one',
      tensor: `${layer}._data`,
      change: (bytes) => {
        bytes[5] ^= 1
      },
    },
  ],
}

for (const name of deviceNames) {
  describe(`planted defects on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    for (const [variant, defects] of Object.entries(plantedDefects)) {
      for (const { what, tensor, change } of defects) {
        test(`${variant}: ${what} does not pass`, async () => {
          const files = await copyOf(pythonFolder(variant))
          await damage(files, tensor, change)
          using model = await loadCausalLM(memoryFolder(files), { device })
          const truth = await readPlain(pythonFolder(variant))
          const expected = manifest.variants[variant]
          const tensors = await readExpected(join(golden, 'expected', `${variant}.safetensors`))
          const refused = { name: 'AssertionError' }
          await assert.rejects(checkParts(model, truth), refused)
          await assert.rejects(checkWeights(model, expected, tensors), refused)
          const logits = await logitsOf(model, inputs.prompt_ids)
          const python = tensors.get('prompt_logits') as Float32Array
          assert.throws(() => checkLogits(logits, python, forward64(truth, inputs.prompt_ids)), refused)
          await assert.rejects(checkPerplexity(model, expected), refused)
        })
      }
    }
  })
}
