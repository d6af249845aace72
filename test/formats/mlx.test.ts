import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { golden } from '../golden.ts'
import { copyOf, damage } from '../models/golden.ts'

/* What MLX's settings say, and what they must not; a word by hand. */

const mixed = await copyOf(diskFolder(join(golden, 'stories260K/mlx-mixed')))
const device = openDevice('cpu', { threads: 1 })

/** The folder with other settings, or other bytes. */
async function load(
  settings: (quantization: Record<string, unknown>) => void,
  bytes = mixed.get('model.safetensors'),
) {
  const config = JSON.parse(Buffer.from(mixed.get('config.json') ?? []).toString())
  delete config.quantization_config
  settings(config.quantization)
  const files = new Map([...mixed, ['config.json', Buffer.from(JSON.stringify(config))]])
  if (bytes) files.set('model.safetensors', bytes)
  return loadCausalLM(memoryFolder(files, 'model'), { device })
}

const q = 'model.layers.0.self_attn.q_proj'

test('five bits: codes lie across words, the first in the lowest bits', async () => {
  const files = new Map([...mixed].map(([name, bytes]) => [name, bytes.slice()]))
  // Codes 1, 2, … of 5 bits, one after the other: 1 | 2 << 5 | 3 << 10 | 4 << 15 | 5 << 20 | 6 << 25 | 7 <<
  // 30.
  const words = Uint32Array.of(0xcc520c41)
  await damage(files, 'model.layers.0.self_attn.o_proj.weight', (bytes) =>
    bytes.set(new Uint8Array(words.buffer)),
  )
  using model = await load(() => {}, files.get('model.safetensors'))
  const weight = model.getParameter('model.layers.0.self_attn.o_proj.weight')
  assert.ok(weight instanceof QTensor)
  using codes = weight.codes()
  assert.deepEqual([...(await codes.readBytes()).subarray(0, 6)], [1, 2, 3, 4, 5, 6])
})

test('layers that no setting names are as their tensors say', async () => {
  using model = await load((settings) => {
    for (const key of Object.keys(settings)) if (key.includes('.')) delete settings[key]
  })
  const weight = model.getParameter(`${q}.weight`)
  assert.ok(weight instanceof QTensor)
  assert.equal(String(weight).includes('quint8 [64,64], one scale a row'), true, String(weight))
})

for (const variant of ['mlx-mixed', 'mlx-mxfp4', 'mlx-w8-g32']) {
  test(`${variant} is saved again as it was`, async () => {
    const files = await copyOf(diskFolder(join(golden, 'stories260K', variant)))
    const saved = new Map<string, Uint8Array>()
    using model = await loadCausalLM(memoryFolder(files), { device })
    await save(model, memoryFolder(saved), { format: 'mlx' })
    const [before, after] = [await tensorsOf(files), await tensorsOf(saved)]
    assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort())
    for (const [name, bytes] of before) assert.ok(after.get(name)?.equals(bytes), name)
    const [theirs, ours] = [files, saved].map((all) =>
      JSON.parse(String(Buffer.from(all.get('config.json') ?? []))),
    )
    for (const [path, setting] of Object.entries(theirs.quantization))
      if (path.includes('.') && setting)
        assert.deepEqual(
          ours.quantization[path] ?? settingOf(ours.quantization),
          setting === true ? settingOf(theirs.quantization) : setting,
          path,
        )
  })
}

/** The tensors of a folder, by name. */
async function tensorsOf(files: Map<string, Uint8Array>): Promise<Map<string, Buffer>> {
  const file = await openSafetensors(await memoryFolder(files).open('model.safetensors'))
  const tensors = new Map<string, Buffer>()
  for (const name of file.tensors.keys()) tensors.set(name, Buffer.from(await file.read(name)))
  return tensors
}

/** What settings say of all layers. */
function settingOf({ group_size, bits, mode }: Record<string, unknown>) {
  return { group_size, bits, mode }
}

test('settings that MLX has not are refused by name', async () => {
  const refused = async (settings: Parameters<typeof load>[0], message: RegExp) =>
    assert.rejects(load(settings), { name: 'FormatError', message })
  await refused(
    (all) => Object.assign(all, { mode: 'fp9' }),
    /quantization\.mode must be affine, mxfp4.*received "fp9"/,
  )
  await refused(
    (all) => Object.assign(all, { bits: 7 }),
    /quantization\.bits must be 1 to 6, or 8; received 7/,
  )
  await refused(
    (all) => Object.assign(all, { group_size: 48 }),
    /group_size must be 32, 64 or 128; received 48/,
  )
  await refused(
    (all) => Object.assign(all, { [q]: { bits: 3, group_size: 64 } }),
    /q_proj\.weight must be U32 \[64,6\]; it is U32 \[64,16\]/,
  )
  await refused(
    (all) => Object.assign(all, { [q]: { mode: 'mxfp4', bits: 3 } }),
    /bits must be 4 for mxfp4; received 3/,
  )
  await refused(
    (all) => Object.assign(all, { [q]: { bits: 8, group_size: 128 } }),
    /q_proj\.weight must have columns in groups of 128/,
  )
  await refused((all) => Object.assign(all, { [q]: false }), /q_proj\.weight must be float32.*it is U32/)
})

test('the device ends', () => device.close())
