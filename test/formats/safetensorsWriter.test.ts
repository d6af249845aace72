import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { asDType } from '../../src/core/dtype.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { writeCheckpoint, writeSafetensors } from '../../src/formats/safetensorsWriter.ts'
import { bytesSource, memoryFolder } from '../../src/formats/source.ts'
import type { TensorToWrite } from '../../src/formats/tensorFile.ts'
import { widestGolden as golden } from '../golden.ts'
import { fixtures } from './golden.ts'

async function tensorsOf(
  path: string,
): Promise<{ metadata: Record<string, string>; tensors: TensorToWrite[] }> {
  const file = await openSafetensors(bytesSource(readFileSync(path), path))
  const tensors = [...file.tensors.values()].map(({ name, dtype, shape }) => ({
    name,
    dtype: asDType(dtype),
    shape,
    bytes: () => file.read(name),
  }))
  return { metadata: Object.fromEntries(file.texts), tensors }
}

async function written(
  tensors: Iterable<TensorToWrite> | AsyncIterable<TensorToWrite>,
  metadata?: Record<string, string>,
): Promise<Buffer> {
  const parts: Uint8Array[] = []
  await writeSafetensors({ write: async (bytes) => void parts.push(bytes.slice()) }, tensors, metadata)
  return Buffer.concat(parts)
}

const float32 = (name: string, values: number[]): TensorToWrite => ({
  name,
  dtype: 'float32',
  shape: [values.length],
  bytes: () => new Uint8Array(Float32Array.from(values).buffer),
})
const range = (count: number) => Array.from({ length: count }, (_, i) => i)

for (const name of ['empty', 'dtypes', 'names', 'quanto-example-qint4', 'quanto-example-qint2']) {
  test(`writes ${name}.safetensors byte for byte as Python does, in whatever order the tensors come`, async () => {
    const path = `${fixtures}${name}.safetensors`
    const { metadata, tensors } = await tensorsOf(path)
    assert.deepEqual(await written(tensors.toReversed(), metadata), readFileSync(path))
    const later = async function* () {
      yield* tensors
    }
    assert.deepEqual(await written(later(), metadata), readFileSync(path))
  })
}

test('golden checkpoints are written again byte for byte', async () => {
  const folder = join(golden, 'stories260K')
  for (const variant of readdirSync(folder).filter((name) => /^(float|quanto-|ct-w)/.test(name))) {
    const path = join(folder, variant, 'model.safetensors')
    const { metadata, tensors } = await tensorsOf(path)
    assert.ok((await written(tensors, metadata)).equals(readFileSync(path)), variant)
  }
})

test('shards and index are byte for byte what Python writes', async () => {
  const tensors = [
    float32('embed', range(8)),
    float32('large', range(20)),
    float32('b.weight', range(4)),
    float32('a.weight', range(6)),
    float32('é', range(3)),
  ]
  const files = new Map<string, Uint8Array>()
  const names = await writeCheckpoint(memoryFolder(files), tensors, { maxShardBytes: 56 })
  const shards = [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`)
  assert.deepEqual(names, [...shards, 'model.safetensors.index.json'])
  for (const name of names)
    assert.deepEqual(Buffer.from(files.get(name) ?? []), readFileSync(`${fixtures}sharded/${name}`), name)
})

test('what fits in one shard is one file without index', async () => {
  const files = new Map<string, Uint8Array>()
  assert.deepEqual(await writeCheckpoint(memoryFolder(files), [float32('a', [1, 2])], { maxShardBytes: 8 }), [
    'model.safetensors',
  ])
  assert.deepEqual([...files.keys()], ['model.safetensors'])
  // By hand: 86 bytes of JSON, padded to 88.
  const header = '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
  const bytes = Buffer.from(files.get('model.safetensors') ?? [])
  assert.equal(bytes.toString('utf8', 8, 8 + 88), header.padEnd(88))
  assert.deepEqual([...bytes.subarray(96)], [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40])
})

test('bytes are asked for one tensor at a time', async () => {
  const order: string[] = []
  const tensor = (name: string): TensorToWrite => ({
    ...float32(name, [1]),
    bytes: async () => {
      order.push(`ask ${name}`)
      return new Uint8Array(4)
    },
  })
  const sink = { write: async (bytes: Uint8Array) => void order.push(`write ${bytes.length}`) }
  await writeSafetensors(sink, [tensor('b'), tensor('a')])
  assert.deepEqual(order.slice(1), ['ask a', 'write 4', 'ask b', 'write 4'])
})

test('tensors that cannot be written are refused', async () => {
  const short = { ...float32('a', [1, 2, 3]), bytes: () => new Uint8Array(8) }
  await assert.rejects(written([short]), {
    name: 'FormatError',
    message: 'safetensors: tensor "a" must have 12 bytes, as float32 [3]; received 8',
    tensor: 'a',
  })
  await assert.rejects(written([float32('a', []), float32('a', [])]), {
    message: 'safetensors: each tensor must have a name of its own; received "a" twice',
  })
  await assert.rejects(written([float32('__metadata__', [])]), { name: 'FormatError' })
})
