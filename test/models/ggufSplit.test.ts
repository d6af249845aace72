import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { type GgufFile, openGguf } from '../../src/formats/gguf.ts'
import { type GgufTypeName, ggufTypes } from '../../src/formats/ggufBlocks.ts'
import { bytesSource } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { fixtures, text, u32, u64 } from '../formats/ggufBytes.ts'

/** The types of floats by their dtype. */
const storedTypes: Record<string, GgufTypeName> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' }

const device = openDevice('cpu', { threads: 2 })
const folder = mkdtempSync(join(tmpdir(), 'lowbit-split-'))
after(async () => {
  await device.close()
  rmSync(folder, { recursive: true })
})

const whole = readFileSync(`${fixtures}stories260K-q4_0.gguf`)
const u16 = (value: number) => Buffer.from([value & 0xff, value >> 8])

/**
 * A part as llama.cpp's gguf-split writes it: the first with all keys, each with its place among `count`, and
 * some of the tensors.
 */
async function part(file: GgufFile, index: number, count: number): Promise<Buffer> {
  const all = [...file.tensors.values()]
  const size = Math.ceil(all.length / count)
  const tensors = all.slice(index * size, (index + 1) * size)
  const split = [
    [text('split.no'), u32(2), u16(index)],
    [text('split.count'), u32(2), u16(count)],
    [text('split.tensors.count'), u32(5), u32(all.length)],
  ].flat()
  const keys = index === 0 ? whole.subarray(24, whole.indexOf(text(all[0].name))) : Buffer.alloc(0)
  const keyCount = index === 0 ? Number(whole.readBigUInt64LE(16)) : 0
  let offset = 0
  const [infos, data]: [Buffer[], Buffer[]] = [[], []]
  for (const { name, shape, dtype } of tensors) {
    const type = storedTypes[dtype] ?? (dtype as GgufTypeName)
    infos.push(
      text(name),
      u32(shape.length),
      ...shape.toReversed().map(u64),
      u32(ggufTypes[type].id),
      u64(offset),
    )
    const bytes = await file.read(name)
    data.push(Buffer.from(bytes), Buffer.alloc((32 - (bytes.length % 32)) % 32))
    offset += Math.ceil(bytes.length / 32) * 32
  }
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(keyCount + 3),
    keys,
    ...split,
    ...infos,
  ])
  return Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), ...data])
}

/** Writes the embedded model in three parts; their paths. */
async function writeParts(name: string): Promise<string[]> {
  const file = await openGguf(bytesSource(whole))
  const paths = [1, 2, 3].map((number) => join(folder, `${name}-0000${number}-of-00003.gguf`))
  for (const [i, path] of paths.entries()) writeFileSync(path, await part(file, i, 3))
  return paths
}

test('a model in several files is one model, whichever of them is named', async () => {
  const paths = await writeParts('stories')
  using expected = await loadCausalLM(`${fixtures}stories260K-q4_0.gguf`, { device })
  const logits = await expected.forward([1, 403, 407]).toNumbers()
  for (const path of paths) {
    using model = await loadCausalLM(path, { device })
    assert.deepEqual(await model.forward([1, 403, 407]).toNumbers(), logits)
    assert.deepEqual(
      model.tokenizer?.encode('Once upon a time'),
      expected.tokenizer?.encode('Once upon a time'),
    )
  }
})

test('where the others are not, it says that it is one of several', async () => {
  const [first, second, third] = await writeParts('incomplete')
  rmSync(third)
  await assert.rejects(loadCausalLM(first, { device }), {
    name: 'FormatError',
    message: `${first}: the other files of the split model must lie beside it; ${third}: must be a file that can be read; there is none (ENOENT)`,
  })
  const renamed = join(folder, 'model.gguf')
  writeFileSync(renamed, readFileSync(second))
  const rule =
    'it is one of 3 files of a split model, so all must be given by path or URL, side by side and named as NAME-00001-of-00003.gguf'
  await assert.rejects(loadCausalLM(renamed, { device }), {
    name: 'FormatError',
    message: `${renamed}: ${rule}`,
  })
  // A file that the user picked in a browser has no neighbours.
  const picked = new File([Uint8Array.from(readFileSync(first))], 'stories-00001-of-00003.gguf')
  await assert.rejects(loadCausalLM(picked, { device }), {
    name: 'FormatError',
    message: `stories-00001-of-00003.gguf: ${rule}`,
  })
})

test('a tensor in two of them is refused', async () => {
  const paths = await writeParts('twice')
  writeFileSync(paths[2], readFileSync(paths[1]))
  await assert.rejects(loadCausalLM(paths[0], { device }), {
    name: 'FormatError',
    message: /must be in one file of the split model; .*twice-00002-of-00003\.gguf has it, too$/,
  })
})
