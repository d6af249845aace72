import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { memoryFolder } from '../../src/formats/source.ts'
import { dequantize, freeze, loadCausalLM, quantize, save } from '../../src/index.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { testOnDevices } from '../tensor/devices.ts'

/* Models with experts, saved with a tensor for each expert, whatever their checkpoints have. */

const golden = join(import.meta.dirname, '../golden/models')
const warning = /transformers has the experts of a layer in one tensor/

for (const [name, warned] of [
  ['gpt_oss-mxfp4', true],
  ['gpt_oss', true],
  ['mixtral-stacks', false],
  ['qwen2_moe', false],
] as const) {
  testOnDevices(`${name} saved and loaded again`, async (device) => {
    const { ids }: { ids: number[] } = JSON.parse(readFileSync(join(golden, name, 'expected.json'), 'utf8'))
    const logitsOf = async (model: CausalLM) => {
      using logits = model.forward(ids)
      return [...(await logits.toNumbers())]
    }
    using model = await loadCausalLM(join(golden, name), { device, dtype: 'float32' })
    if (name.endsWith('mxfp4')) dequantize(model)
    else {
      quantize(model, { weights: 'int8', exclude: 'lm_head' })
      freeze(model)
    }
    const files = new Map<string, Uint8Array>()
    const warnings: string[] = []
    await save(model, memoryFolder(files), { onWarning: (message) => void warnings.push(message) })
    assert.equal(
      warnings.some((message) => warning.test(message)),
      warned,
      warnings.join(),
    )
    using again = await loadCausalLM(memoryFolder(files), { device, dtype: 'float32' })
    assert.deepEqual(await logitsOf(again), await logitsOf(model))
  })
}
