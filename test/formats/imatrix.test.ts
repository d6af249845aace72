import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type ImportanceMatrix,
  readImatrix,
  writeImatrix,
  writeOldImatrix,
} from '../../src/formats/imatrix.ts'
import { memoryFolder } from '../../src/formats/source.ts'

const matrix: ImportanceMatrix = {
  entries: new Map([
    ['blk.0.ffn_up.weight', { sums: Float32Array.of(4, 9, 0.5), counts: Float32Array.of(6) }],
    ['blk.0.attn_q.weight', { sums: Float32Array.of(1, 2, 8, 6), counts: Float32Array.of(4, 2) }],
    ['blk.1.attn_q.weight', { sums: Float32Array.of(0, 0), counts: Float32Array.of(0) }],
  ]),
  datasets: ['a.txt', 'b.txt'],
  chunks: 3,
  chunkTokens: 2,
}

async function written(write: typeof writeImatrix): Promise<Uint8Array> {
  const folder = memoryFolder()
  await write(folder, 'file', matrix)
  const source = await folder.open('file')
  return source.read(0, source.size)
}

async function read(bytes: Uint8Array) {
  const folder = memoryFolder(new Map([['file', bytes]]))
  return readImatrix(await folder.open('file'))
}

test('the older kind, byte for byte: means times chunks, names in order, those with rows', async () => {
  const bytes = await written(writeOldImatrix)
  const text = (value: string) => [value.length, ...new TextEncoder().encode(value)]
  const int = (value: number) => [...new Uint8Array(Int32Array.of(value).buffer)]
  const string = (value: string) => [...int(value.length), ...text(value).slice(1)]
  const floats = (...values: number[]) => [...new Uint8Array(Float32Array.from(values).buffer)]
  assert.deepEqual(
    [...bytes],
    [
      ...int(2),
      ...[...string('blk.0.attn_q.weight'), ...int(2), ...int(4), ...floats(0.5, 1, 8, 6)],
      ...[...string('blk.0.ffn_up.weight'), ...int(3), ...int(3), ...floats(2, 4.5, 0.25)],
      ...[...int(3), ...string('b.txt')],
    ],
  )
  const back = await read(bytes)
  assert.deepEqual(back.entries.get('blk.0.ffn_up.weight'), {
    sums: Float32Array.of(2, 4.5, 0.25),
    counts: Float32Array.of(3),
  })
  assert.deepEqual([back.datasets, back.chunks, back.chunkTokens], [['b.txt'], 3, 0])
})

test('a GGUF file holds sums and counts, and reads back', async () => {
  const back = await read(await written(writeImatrix))
  const entries = [...matrix.entries].slice(0, 2).sort(([a], [b]) => (a < b ? -1 : 1))
  assert.deepEqual({ ...back, entries: [...back.entries] }, { ...matrix, entries })
})

test('what is no importance matrix is refused, with the place', async () => {
  const bytes = await written(writeOldImatrix)
  const refused = (of: Uint8Array, message: RegExp) =>
    assert.rejects(read(of), { name: 'FormatError', message })
  await refused(Uint8Array.of(1, 2), /the number of tensors must lie in the file's 2 bytes/)
  await refused(Uint8Array.of(0, 0, 0, 0), /must hold 1 to 1048576 tensors; it has 0/)
  await refused(bytes.slice(0, 40), /must lie in the file's 40 bytes/)
  const nan = bytes.slice()
  nan.set(new Uint8Array(Float32Array.of(NaN).buffer), 4 + 4 + 19 + 8)
  await refused(nan, /blk.0.attn_q.weight must have sums of squares from 0 up/)
})
