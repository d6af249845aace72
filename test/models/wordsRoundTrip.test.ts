import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { type Folder, memoryFolder } from '../../src/formats/source.ts'
import { convert } from '../../src/models/convert.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { golden } from '../golden.ts'

/* GPTQ's and AWQ's folders, loaded and saved, hold the words that Python wrote. */

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

const root = join(import.meta.dirname, '../..')
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

test("a quantized head stands in the settings, and AutoGPTQ's name of the file is known", async () => {
  using model = await loadCausalLM(join(root, 'models/stories260K'), { device })
  quantize(model, {
    weights: 'int4',
    groupSize: 32,
    zeroPoints: true,
    scaleDtype: 'float16',
    exclude: '*down_proj',
  })
  freeze(model)
  const files = new Map<string, Uint8Array>()
  await save(model, memoryFolder(files), { format: 'gptq' })
  const settings = JSON.parse(new TextDecoder().decode(files.get('quantize_config.json')))
  assert.deepEqual([settings.lm_head, settings.sym, settings.group_size], [true, false, 32])
  assert.deepEqual(Object.keys(settings.dynamic).length, 5, 'the layers that stay float')
  assert.ok('-:^model\\.layers\\.0\\.mlp\\.down_proj$' in settings.dynamic)
  files.set('gptq_model-4bit-32g.safetensors', files.get('model.safetensors') as Uint8Array)
  files.delete('model.safetensors')
  using again = await loadCausalLM(memoryFolder(files), { device })
  assert.equal(String(again.lm_head.weight), String(model.lm_head.weight))
  assert.deepEqual(await again.forward([1, 2, 3]).toNumbers(), await model.forward([1, 2, 3]).toNumbers())
})

// AWQ takes rows in eights, which 172 are not.
const attention = ['*self_attn*']
for (const [to, layers, include] of [
  ['gptq', 30],
  ['gptq_v2', 30],
  ['awq', 20, attention],
  ['awq_gemv', 20, attention],
] as const) {
  test(`a float model becomes ${to}`, async () => {
    const written = memoryFolder()
    const { tensors } = await convert(join(root, 'models/stories260K'), written, {
      to,
      groupSize: 32,
      include,
      device,
    })
    const made = tensors.filter((tensor) => tensor.to.startsWith('qint4'))
    assert.equal(made.length, layers)
    for (const { error } of made) assert.ok(error !== null && error > 0.01 && error < 0.12, `${error}`)
    using again = await loadCausalLM(written, { device })
    assert.equal((await again.forward([1, 2, 3]).toNumbers()).length, 3 * 512)
  })
}

/** What another format holds of Python's codes: whether all stay. */
const conversions: [id: string, to: string, exact: boolean, reason?: RegExp][] = [
  ['stories260K/awq-gemm-g32-attn', 'gptq', true],
  ['stories260K/gptq-w4-g32-asym-desc_act', 'gptq_v2', true],
  [
    'stories260K/gptq-w4-g32-asym-desc_act',
    'awq',
    false,
    /its columns are reordered, and AWQ takes them in order/,
  ],
  ['stories260K/gptq-w8-g32-sym', 'awq', false, /it is qint8, and awq takes qint4/],
  [
    'stories260K/quanto-qint4',
    'gptq',
    false,
    /it has floats for offsets, and GPTQ takes integer zero points/,
  ],
  ['stories260K/bnb-nf4', 'gptq', false, /it is nf4, and gptq takes qint2/],
]

for (const [id, to, exact, reason] of conversions) {
  test(`${id} → ${to}: ${exact ? 'exact' : 'quantized anew'}`, async () => {
    const given = exact ? {} : { groupSize: null, include: attention }
    const done = await convert(join(golden, id), memoryFolder(), { to, device, onWarning() {}, ...given })
    const codes = done.tensors.filter(({ from }) => !from.startsWith('float'))
    assert.ok(codes.length > 0)
    if (exact) assert.ok(codes.every((tensor) => tensor.exact))
    else
      assert.ok(
        codes.some((tensor) => !tensor.exact && reason?.test(tensor.reason ?? '')),
        JSON.stringify(codes[0]),
      )
  })
}
