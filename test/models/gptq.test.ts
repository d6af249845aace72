import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden, goldenItem } from '../golden.ts'
import { equalRow, numberRow } from '../goldenTable.ts'
import { checkItem, type GoldenScheme } from './schemeChecks.ts'

/* GPTQ of two models, as GPTQModel 7.7 saved them and computed with them. */

const items = [
  'stories260K/gptq-w4-g32-sym',
  'stories260K/gptq-w4-g32-asym-desc_act',
  'stories260K/gptq_v2-w4-g32-asym',
  'stories260K/gptq-w8-g32-sym',
  'stories260K/gptq-mixed',
  'shakespeare-gpt2-1M/gptq-w3-g32-sym',
  'shakespeare-gpt2-1M/gptq-w4-g128-sym',
]

for (const name of deviceNames) {
  describe(`GPTQ on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })
    for (const id of items) {
      test(`${id}: Python's folder computes what Python computed`, async () => {
        const place = diskFolder(join(golden, id))
        using loaded = await loadCausalLM(place, { device })
        using floats = await loadCausalLM(place, { device, dequantize: true })
        const ours = await checkItem(id, loaded, floats)
        equalRow(id, name, 'dequantized weights')
        const { perplexity } = goldenItem<GoldenScheme>(id).expected
        numberRow(id, name, 'perplexity', ours, perplexity, '0.05 %')
      })
    }
  })
}
