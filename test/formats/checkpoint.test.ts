import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openCheckpoint, openSharded } from '../../src/formats/checkpoint.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { type Folder, memoryFolder } from '../../src/formats/source.ts'
import { widestGolden as golden } from '../golden.ts'
import { fixtures } from './golden.ts'

const index = 'model.safetensors.index.json'
const shard = (i: number) => `model-0000${i}-of-00003.safetensors`

/** The sharded fixture, some of its files replaced or removed, its index changed. */
function sharded(
  change: { files?: Record<string, string | undefined>; weightMap?: Record<string, unknown> } = {},
): Folder {
  const files = new Map<string, Uint8Array>(
    readdirSync(`${fixtures}sharded`).map((name) => [name, readFileSync(`${fixtures}sharded/${name}`)]),
  )
  for (const [name, from] of Object.entries(change.files ?? {})) {
    const bytes = from === undefined ? undefined : files.get(from)
    if (bytes) files.set(name, bytes)
    else files.delete(name)
  }
  const parsed = JSON.parse(Buffer.from(files.get(index) ?? []).toString() || '{}')
  if (change.weightMap)
    files.set(
      index,
      Buffer.from(JSON.stringify({ ...parsed, weight_map: { ...parsed.weight_map, ...change.weightMap } })),
    )
  return memoryFolder(files, 'model')
}

test('shards read as one file', async () => {
  const file = await openCheckpoint(diskFolder(join(fixtures, 'sharded')))
  assert.deepEqual([...file.tensors.keys()].sort(), ['a.weight', 'b.weight', 'embed', 'large', 'é'])
  assert.deepEqual(file.tensors.get('a.weight')?.shape, [6])
  // torch.arange(6.0)
  assert.deepEqual([...new Float32Array((await file.read('a.weight')).slice().buffer)], [0, 1, 2, 3, 4, 5])
  assert.deepEqual([...new Float32Array((await file.read('é')).slice().buffer)], [0, 1, 2])
  await assert.rejects(file.read('none'), {
    message: /index\.json: tensor "none" must be in the file; it is not$/,
    tensor: 'none',
  })
  await file.close()
})

test('an index that does not fit its shards is refused', async () => {
  const refuses = (folder: Folder, message: string | RegExp) =>
    assert.rejects(openSharded(folder), { name: 'FormatError', message })
  await refuses(
    sharded({ files: { [shard(2)]: undefined } }),
    `model: must hold ${shard(2)}; there is no such file`,
  )
  await refuses(
    sharded({ files: { [shard(2)]: undefined, [shard(3)]: undefined } }),
    `model: must hold ${shard(2)}, ${shard(3)}; there are no such files`,
  )
  await refuses(
    sharded({ weightMap: { embed: shard(1) } }),
    `model/${index}: tensor "embed" must be in ${shard(1)}, as weight_map says; it is model/${shard(2)}`,
  )
  await refuses(
    sharded({ weightMap: { none: shard(1) } }),
    `model/${index}: tensor "none" must be in ${shard(1)}, as weight_map says; it is in none`,
  )
  await refuses(
    sharded({ files: { [shard(3)]: shard(2) } }),
    `model/${index}: tensor "b.weight" must be in one shard; it is in model/${shard(2)} and model/${shard(3)}`,
  )
  for (const name of ['../x', '/etc/passwd', 'a/../../x', '..\\x']) {
    await refuses(
      sharded({ weightMap: { embed: name } }),
      `model/${index}: a file name must be a plain path inside the folder; received ${JSON.stringify(name)}`,
    )
  }
  await refuses(
    sharded({ weightMap: { embed: 3 } }),
    `model/${index}: weight_map.embed must be a string; received 3`,
  )
  await refuses(
    memoryFolder(new Map([[index, Buffer.from('{}')]]), 'model'),
    `model/${index}: weight_map must be an object; received nothing`,
  )
  await refuses(
    memoryFolder(new Map([[index, Buffer.from('{"weight_map":{"a":"x","a":"y"}}')]]), 'model'),
    /a key must appear once/,
  )
})

test('the shards that were open are closed when one is refused', async () => {
  let open = 0
  const inner = sharded({ files: { [shard(3)]: shard(2) } })
  const folder: Folder = {
    ...inner,
    async open(name) {
      const source = await inner.open(name)
      if (name === index) return source
      open++
      return { ...source, close: async () => void open-- }
    },
  }
  await assert.rejects(openSharded(folder))
  assert.equal(open, 0)
})

test('a folder without weights says so', async () => {
  const folder = memoryFolder(new Map([['config.json', new Uint8Array()]]), 'models/x')
  await assert.rejects(openCheckpoint(folder), {
    message:
      'models/x: must hold model.safetensors, model.safetensors.index.json, pytorch_model.bin or pytorch_model.bin.index.json; it holds config.json',
  })
  await assert.rejects(openCheckpoint(diskFolder('/no/such/folder')), {
    message:
      '/no/such/folder: must hold model.safetensors, model.safetensors.index.json, pytorch_model.bin or pytorch_model.bin.index.json; it holds none of them',
  })
})

test('every golden checkpoint opens', async () => {
  let opened = 0
  for (const model of ['stories260K', 'shakespeare-gpt2-1M']) {
    for (const variant of readdirSync(join(golden, model))) {
      const folder = diskFolder(join(golden, model, variant))
      if (!(await folder.has('model.safetensors'))) continue
      const file = await openCheckpoint(folder)
      for (const name of file.tensors.keys()) await file.read(name)
      await file.close()
      opened++
    }
  }
  assert.ok(opened >= 10, `${opened} checkpoints`)
})
