import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { openGguf } from '../../src/formats/gguf.ts'
import type { GgufNumberName } from '../../src/formats/ggufValueTypes.ts'
import { type GgufEntries, type GgufValue, placeGguf } from '../../src/formats/ggufWriter.ts'
import { bytesSource, memoryFolder } from '../../src/formats/source.ts'
import type { TensorHead } from '../../src/formats/tensorFile.ts'
import { bool, f32, fixtures, float32, gguf, list, string, strings, u32, uint32 } from './ggufBytes.ts'

/** The bytes of a file with these tensors, put piece by piece, the last first. */
async function written(
  metadata: GgufEntries,
  tensors: readonly (TensorHead & { bytes: Uint8Array })[],
): Promise<Buffer> {
  const files = new Map<string, Uint8Array>()
  const placed = await placeGguf(memoryFolder(files), 'x.gguf', metadata, tensors)
  for (const { name, bytes } of tensors.toReversed()) {
    const middle = bytes.byteLength >> 1
    await placed.put(name, middle, bytes.subarray(middle))
    await placed.put(name, 0, bytes.subarray(0, middle))
  }
  const total = await placed.close()
  const file = files.get('x.gguf') as Uint8Array
  assert.equal(total, file.byteLength)
  return Buffer.from(file)
}

test('values of every type stand as the format has them', async () => {
  const number = (type: GgufNumberName, value: number | bigint): GgufValue => ({ type, value })
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: 'ä' }],
    ['a', number('uint32', 4294967295)],
    ['b', number('float32', 1e-5)],
    ['c', { type: 'bool', value: true }],
    ['d', { type: 'string', values: ['x', '', '▁'] }],
    ['e', { type: 'float32', values: [0.5, -1] }],
    ['f', { type: 'int32', values: [-2, 7] }],
    ['g', number('uint8', 255)],
    ['h', number('int8', -1)],
    ['i', number('uint16', 65535)],
    ['j', number('int16', -2)],
    ['k', number('int32', -3)],
    ['l', number('uint64', 2n ** 63n)],
    ['m', number('int64', -4n)],
    ['n', number('float64', 1.25)],
  ])
  const bytes = Uint8Array.from({ length: 36 }, (_, i) => i + 1)
  const tensors = [
    { name: 'blocks', dtype: 'Q8_0', shape: [1, 32], bytes: bytes.subarray(0, 34) },
    { name: 'halves', dtype: 'float16', shape: [3, 2], bytes: bytes.subarray(0, 12) },
  ] as const
  const eight = (write: (bytes: Buffer) => void) => {
    const buffer = Buffer.alloc(8)
    write(buffer)
    return buffer
  }
  const header = gguf({
    keys: {
      'general.architecture': string('ä'),
      a: uint32(4294967295),
      b: float32(1e-5),
      c: bool(1),
      d: strings('x', '', '▁'),
      e: list(6, 2, f32(0.5), f32(-1)),
      f: list(5, 2, u32(4294967294), u32(7)),
      g: [0, Buffer.from([255])],
      h: [1, Buffer.from([255])],
      i: [2, Buffer.from([255, 255])],
      j: [3, Buffer.from([254, 255])],
      k: [5, u32(4294967293)],
      l: [10, eight((b) => b.writeBigUInt64LE(2n ** 63n))],
      m: [11, eight((b) => b.writeBigInt64LE(-4n))],
      n: [12, eight((b) => b.writeDoubleLE(1.25))],
    },
    tensors: [
      { name: 'blocks', sizes: [32, 1], type: 8, offset: 0 },
      { name: 'halves', sizes: [2, 3], type: 1, offset: 64 },
    ],
    dataBytes: 0,
  })
  const data = Buffer.alloc(96)
  data.set(bytes.subarray(0, 34))
  data.set(bytes.subarray(0, 12), 64)
  const padding = Buffer.alloc((32 - (header.length % 32)) % 32)
  assert.deepEqual(await written(metadata, tensors), Buffer.concat([header, padding, data]))
})

test('the bytes of a file that the Python library wrote', async () => {
  const expected = readFileSync(`${fixtures}stories260K-q5_1.gguf`)
  const file = await openGguf(bytesSource(expected, 'x'))
  const { metadata } = file
  const lists: Record<string, GgufValue> = {
    'tokenizer.ggml.tokens': { type: 'string', values: metadata.strings('tokenizer.ggml.tokens') },
    'tokenizer.ggml.scores': { type: 'float32', values: metadata.numbers('tokenizer.ggml.scores') },
    'tokenizer.ggml.token_type': { type: 'int32', values: metadata.numbers('tokenizer.ggml.token_type') },
  }
  const typeOf = (key: string, value: unknown) => {
    if (typeof value === 'number') return /epsilon|freq_base/.test(key) ? 'float32' : 'uint32'
    return typeof value === 'boolean' ? 'bool' : 'string'
  }
  const entries = metadata.keys().map((key): [string, GgufValue] => {
    const value = metadata.get(key)
    return [key, lists[key] ?? { type: typeOf(key, value), value: value as string }]
  })
  const tensors = await Promise.all(
    [...file.tensors.values()].map(async (info) => ({ ...info, bytes: await file.read(info.name) })),
  )
  assert.deepEqual(await written(new Map(entries), tensors), expected)
})

test('a header of many kilobytes', async () => {
  const values = Array.from({ length: 20000 }, (_, i) => `token ${i}`)
  const file = await written(new Map([['tokens', { type: 'string', values }]]), [])
  const { metadata } = await openGguf(bytesSource(file, 'x'))
  assert.deepEqual(metadata.strings('tokens'), values)
})

test('what cannot be in such a file is refused by name', async () => {
  const place = (...tensors: TensorHead[]) => placeGguf(memoryFolder(), 'x.gguf', new Map(), tensors)
  const head = (dtype: TensorHead['dtype'], shape: number[]) => ({ name: 't', dtype, shape })
  const cases: [TensorHead[], string][] = [
    [[head('U32', [4])], 'gguf: tensor "t" must be of one of ggml\'s types; it is U32'],
    [
      [head('Q4_0', [2, 33])],
      'gguf: tensor "t" must have rows of whole blocks of 32 values, being Q4_0; its shape is [2,33]',
    ],
    [
      [head('float32', [1, 1, 1, 1, 1])],
      'gguf: tensor "t" must have at most 4 dimensions; its shape is [1,1,1,1,1]',
    ],
    [
      [head('float32', [1]), head('float32', [1])],
      'gguf: tensor "t" must have a name of its own; there are two of it',
    ],
  ]
  for (const [tensors, message] of cases)
    await assert.rejects(place(...tensors), { name: 'FormatError', message })
  const placed = await place(head('float32', [2]))
  await assert.rejects(placed.put('u', 0, new Uint8Array(1)), {
    message: 'gguf: tensor "u" must be one of those placed; received bytes 0 to 1',
  })
  await assert.rejects(placed.put('t', 4, new Uint8Array(5)), {
    message: 'gguf: tensor "t" must have 8 bytes, as F32 [2]; received bytes 4 to 9',
  })
  await assert.rejects(placed.close(), {
    message: 'gguf: tensor "t" must have 8 bytes, as F32 [2]; received 0',
  })
})
