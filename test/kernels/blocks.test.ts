import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { qint4, qint5, qint8, qtypesByCode } from '../../src/core/qtype.ts'
import { blockTypes, tileBlocks } from '../../src/kernels/layout/tileBlocks/tileBlocks.ts'
import { tileByteLength } from '../../src/kernels/layout/tilePack/tilePack.ts'
import { untileBlocks } from '../../src/kernels/layout/untileBlocks/untileBlocks.ts'
import { dequantizeTiles } from '../../src/kernels/matmul/qmatmul/qmatmul.ts'

/*
 * One block of each type as the gguf package (0.19) wrote it for x[i] = (i − 12) / 4, i = 0 … 31. The values
 * that it stands for are the multiples of d nearest to x: at most half of |d| away, or one |d| where Q4_0 and
 * Q5_0 cut off at the ends.
 */
const written = {
  Q4_0: ['c0b86d6d5c5c5b4b4b3a3a39292818180707', -0.59375],
  Q4_1: ['223800c280809191a2a2b3b3c4c4d5d5e6e6f7f7', 0.516601562],
  Q5_0: ['c0b4ff1f0000dac9b8a89786857463534231302f1e0d', -0.296875],
  Q5_1: ['003400c20000ffff00112233445566778899aabbccddeeff', 0.25],
} as const

for (const [name, [hex, d]] of Object.entries(written)) {
  test(`${name}: a block of the gguf package, in tiles and back`, () => {
    const { type, bits, multiple } = blockTypes[name as keyof typeof written]
    const blocks = Uint8Array.from(Buffer.from(hex, 'hex'))
    const codes = new Uint8Array(tileByteLength(bits, 1, 32))
    const [scale, shift] = [new Uint8Array(32), new Uint8Array(32)]
    tileBlocks(blocks, type, codes, scale, shift, 1, 32)
    const qtype = qtypesByCode.findIndex((one) => one.bits === bits)
    const values = dequantizeTiles(
      codes,
      qtype,
      new Uint16Array(scale.buffer),
      new Uint16Array(shift.buffer),
      1,
      1,
      1,
      32,
      32,
    )
    const allowed = (multiple === 'minimum' ? 0.5 : 1) * Math.abs(d) + 2e-3
    values.forEach((value, i) => {
      assert.ok(
        Math.abs(value - (i - 12) / 4) <= allowed,
        `value ${i} is ${value}; expected ${(i - 12) / 4}, give or take ${allowed}`,
      )
      // Whole multiples of d away from the first.
      const steps = (value - values[0]) / d
      assert.ok(Math.abs(steps - Math.round(steps)) < 1e-2, `value ${i} is ${steps} steps from the first`)
    })
    if (name === 'Q5_1')
      assert.deepEqual(
        [...values],
        Array.from({ length: 32 }, (_, i) => (i - 12) / 4),
      )
    const back = new Uint8Array(blocks.length)
    untileBlocks(codes, scale, shift, type, back, 1, 32)
    assert.deepEqual(back, blocks)
  })
}

interface Encoded {
  rows: number
  cols: number
  types: Record<keyof typeof blockTypes, { bytes: string; float32: string }>
}

// What ggml itself encoded and decoded.
const ggml: Encoded = JSON.parse(readFileSync(new URL('../golden/gguf/blocks.json', import.meta.url), 'utf8'))

for (const [name, { bytes, float32 }] of Object.entries(ggml.types)) {
  test(`${name}: the floats that ggml decodes, and its bytes again`, () => {
    const { rows, cols } = ggml
    const { type, bits, multiple } = blockTypes[name as keyof typeof blockTypes]
    const blocks = Uint8Array.from(Buffer.from(bytes, 'hex'))
    const codes = new Uint8Array(tileByteLength(bits, rows, cols))
    const factors = () => new Uint8Array(tileByteLength(16, rows, cols / 32))
    const [scale, shift] = [factors(), multiple === 0 ? null : factors()]
    tileBlocks(blocks, type, codes, scale, shift, rows, cols)
    const { code } = bits === 4 ? qint4 : bits === 5 ? qint5 : qint8
    const halves = (tiles: Uint8Array) => new Uint16Array(tiles.buffer)
    const values = dequantizeTiles(codes, code, halves(scale), shift && halves(shift), 1, 1, rows, cols, 32)
    const expected = new Float32Array(Uint8Array.from(Buffer.from(float32, 'hex')).buffer)
    assert.equal(values.length, expected.length)
    // By value: ggml gives a zero the sign of its code.
    for (const [i, value] of values.entries())
      assert.ok(Math.fround(value) === expected[i], `value ${i} is ${value}, not ${expected[i]}`)
    const back = new Uint8Array(blocks.length)
    untileBlocks(codes, scale, shift, type, back, rows, cols)
    assert.deepEqual(back, blocks)
  })
}

test('Q4_0: codes by hand', () => {
  // d = −0.59375, codes 13 13 12 12 11 …: the first values are d · (13 − 8), d · (13 − 8), d · (12 − 8).
  const { type } = blockTypes.Q4_0
  const blocks = Uint8Array.from(Buffer.from(written.Q4_0[0], 'hex'))
  const codes = new Uint8Array(tileByteLength(4, 1, 32))
  const [scale, shift] = [new Uint8Array(32), new Uint8Array(32)]
  tileBlocks(blocks, type, codes, scale, shift, 1, 32)
  const values = dequantizeTiles(
    codes,
    1,
    new Uint16Array(scale.buffer),
    new Uint16Array(shift.buffer),
    1,
    1,
    1,
    32,
    32,
  )
  assert.deepEqual(
    [...values.slice(0, 5)],
    [13, 13, 12, 12, 11].map((code) => -0.59375 * (code - 8)),
  )
})
