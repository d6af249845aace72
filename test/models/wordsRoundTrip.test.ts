import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { type Folder, memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { golden } from '../golden.ts'

/* GPTQ's and AWQ's folders, loaded and saved, hold the words that Python wrote. */

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

const python = (id: string) => diskFolder(join(golden, id))

/** The tensors of quantized layers, as hexadecimal bytes. */
async function wordsOf(folder: Folder): Promise<Map<string, string>> {
  const file = await openSafetensors(await folder.open('model.safetensors'))
  const words = new Map<string, string>()
  for (const [name, { dtype, shape }] of file.tensors)
    if (/\.(qweight|qzeros|scales|g_idx)$/.test(name))
      words.set(name, `${dtype} ${shape}: ${Buffer.from(await file.read(name)).toString('hex')}`)
  await file.close()
  return words
}

async function saved(folder: Folder, format: string): Promise<Folder> {
  using model = await loadCausalLM(folder, { device })
  const written = memoryFolder()
  await save(model, written, { format })
  return written
}

const items: Record<string, string> = {
  'stories260K/gptq-w4-g32-sym': 'gptq',
  'stories260K/gptq-w4-g32-asym-desc_act': 'gptq',
  'stories260K/gptq_v2-w4-g32-asym': 'gptq_v2',
  'stories260K/gptq-w8-g32-sym': 'gptq',
  'stories260K/gptq-mixed': 'gptq',
  'shakespeare-gpt2-1M/gptq-w3-g32-sym': 'gptq',
  'shakespeare-gpt2-1M/gptq-w4-g128-sym': 'gptq',
  'stories260K/awq-gemm-g32-attn': 'awq',
}

for (const [id, format] of Object.entries(items)) {
  test(`${id}: loaded, saved and loaded`, async () => {
    const theirs = await wordsOf(python(id))
    assert.ok(theirs.size > 0)
    const once = await saved(python(id), format)
    assert.deepEqual(await wordsOf(once), theirs)
    assert.deepEqual(await wordsOf(await saved(once, format)), theirs)
  })
}

/** From one to the next, each without loss. */
const ways: Record<string, string[]> = {
  'stories260K/awq-gemm-g32-attn': ['gptq', 'awq_gemv', 'gptq_v2', 'awq'],
  'stories260K/gptq-w4-g32-asym-desc_act': ['gptq_v2', 'gptq'],
  'shakespeare-gpt2-1M/gptq-w4-g128-sym': ['awq', 'awq_gemv', 'gptq'],
}

for (const [id, formats] of Object.entries(ways)) {
  test(`${id} → ${formats.join(' → ')}: the same words`, async () => {
    let folder: Folder = python(id)
    for (const format of formats) folder = await saved(folder, format)
    assert.deepEqual(await wordsOf(folder), await wordsOf(python(id)))
  })
}
