import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { decodeFloat } from '../../src/core/halves.ts'
import { dequantizeBlocks, type GgufBlockType, ggufTypeOfId, ggufTypes, unpackBlocks } from '../../src/formats/ggufBlocks.ts'
import { fixtures } from './ggufBytes.ts'

interface Fixture {
  rows: number
  cols: number
  types: Record<GgufBlockType, { bytes: string; float32: string }>
}

/** What ggml itself encoded and decoded. */
const { rows, cols, types }: Fixture = JSON.parse(readFileSync(`${fixtures}blocks.json`, 'utf8'))
const half = (pattern: number) => decodeFloat('float16', pattern)
const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))

for (const [type, { bytes, float32 }] of Object.entries(types) as [GgufBlockType, { bytes: string; float32: string }][]) {
  test(`${type}: the floats that ggml decodes`, () => {
    const expected = new Float32Array(bytesOf(float32).buffer)
    const values = dequantizeBlocks(type, bytesOf(bytes), rows, cols)
    assert.equal(values.length, expected.length)
    // By value: ggml gives a zero the sign of its code.
    for (const [i, value] of values.entries()) assert.ok(value === expected[i], `value ${i} is ${value}, not ${expected[i]}`)
    const { codes, scale, shift } = unpackBlocks(type, bytesOf(bytes), rows, cols)
    for (const [i, code] of codes.entries()) {
      const q = type === 'Q8_0' ? (code << 24) >> 24 : code
      const group = Math.floor(i / 32)
      const w = Math.fround(half(scale[group]) * q) - (shift ? half(shift[group]) : 0)
      assert.ok(Math.fround(w) === expected[i], `${type} ${i}`)
    }
  })
}

test('worked by hand: x[i] = (i − 12)/4', () => {
  // d = −0.59375, codes from 13 down to 0; the block as llama.cpp writes it.
  const q40 = unpackBlocks('Q4_0', bytesOf('c0b8 6d6d5c5c5b4b4b3a3a3929281818 0707'), 1, 32)
  assert.equal(half(q40.scale[0]), -0.59375)
  assert.equal(half(q40.shift?.[0] ?? 0), 8 * -0.59375)
  assert.deepEqual([...q40.codes].slice(0, 5), [13, 13, 12, 12, 11])
  assert.deepEqual([...q40.codes].slice(-2), [0, 0])
  // d = 0.5166 (2238), m = −3.
  const q41 = unpackBlocks('Q4_1', bytesOf('223800c2 80809191a2a2b3b3c4c4d5d5e6e6f7f7'), 1, 32)
  assert.equal(half(q41.shift?.[0] ?? 0), 3)
  assert.deepEqual([...q41.codes].slice(0, 4), [0, 0, 1, 1])
  assert.deepEqual([...q41.codes].slice(-4), [14, 14, 15, 15])
  const q50 = unpackBlocks('Q5_0', bytesOf('c0b4 ff1f0000 dac9b8a89786857463534231302f1e0d'), 1, 32)
  assert.equal(half(q50.scale[0]), -0.296875)
  assert.equal(half(q50.shift?.[0] ?? 0), 16 * -0.296875)
  assert.deepEqual([...q50.codes].slice(0, 4), [26, 25, 24, 24])
  assert.deepEqual([...q50.codes].slice(11, 14), [17, 16, 15])
  // d = 0.25, m = −3: the codes are 0 to 31.
  const q51 = unpackBlocks('Q5_1', bytesOf('003400c2 0000ffff 00112233445566778899aabbccddeeff'), 1, 32)
  assert.equal(half(q51.scale[0]), 0.25)
  assert.deepEqual(
    [...q51.codes],
    Array.from({ length: 32 }, (_, i) => i),
  )
  assert.deepEqual(
    [...dequantizeBlocks('Q5_1', bytesOf('003400c2 0000ffff 00112233445566778899aabbccddeeff'), 1, 32)],
    Array.from({ length: 32 }, (_, i) => (i - 12) / 4),
  )
  const q80 = unpackBlocks('Q8_0', bytesOf('ca28 b0b6bdc4cb' + '80'.repeat(27)), 1, 32)
  assert.equal(q80.shift, null)
  assert.deepEqual([...new Int8Array(q80.codes.buffer)].slice(0, 6), [-80, -74, -67, -60, -53, -128])
})

test('an exact shift may overflow, and then says so', () => {
  const block = (half: string) => bytesOf(half + '00'.repeat(16))
  assert.equal(half(unpackBlocks('Q4_0', block('ff67'), 1, 32).shift?.[0] ?? 0), 8 * 2047)
  assert.equal(half(unpackBlocks('Q4_0', block('ff77'), 1, 32).shift?.[0] ?? 0), Infinity)
  // The smallest subnormal.
  assert.equal(half(unpackBlocks('Q4_0', block('0100'), 1, 32).shift?.[0] ?? 0), 8 * 2 ** -24)
})

test('bytes must be as many as the shape takes', () => {
  const message = 'unpackBlocks: Q4_0 [2,64] takes 72 bytes in rows of whole blocks; received 71'
  assert.throws(() => unpackBlocks('Q4_0', new Uint8Array(71), 2, 64), { name: 'FormatError', message })
  assert.throws(() => unpackBlocks('Q4_0', new Uint8Array(36), 2, 33), { name: 'FormatError' })
})

test('ids', () => {
  assert.equal(ggufTypeOfId(8), 'Q8_0')
  assert.equal(ggufTypeOfId(5), undefined)
  const ids = Object.values(ggufTypes).map(({ id }) => id)
  assert.equal(new Set(ids).size, ids.length)
})
