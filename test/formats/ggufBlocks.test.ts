import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ggufTypeOfId, ggufTypes } from '../../src/formats/ggufBlocks.ts'
import {
  type BlockScales,
  blockLayout,
  blockLayouts,
  fieldNumbers,
  type GgufBlockType,
} from '../../src/formats/ggufLayouts.ts'
import { fieldLength } from '../../src/kernels/layout/unpackBlocks/unpackBlocks.ts'

test('types are found by their id', () => {
  assert.equal(ggufTypeOfId(2), 'Q4_0')
  assert.equal(ggufTypeOfId(4), undefined, 'a type that ggml took back')
  assert.equal(ggufTypeOfId(1000), undefined)
})

const types = Object.keys(blockLayouts) as GgufBlockType[]

for (const name of types) {
  test(`${name}: every bit of a block belongs to one thing`, () => {
    const { bytes, values } = ggufTypes[name]
    const { codes, scale, shift, groupSize, type } = blockLayout(name)
    const seen = new Uint8Array(8 * bytes)
    const take = (fields: Parameters<typeof fieldNumbers>[0], count: number, bits: number) => {
      const numbers = fieldNumbers(fields, count)
      const told = new Uint32Array(count)
      for (let f = 0; f < numbers.length; f += fieldLength) {
        const [first, step, length, at, shift, width, from] = numbers.subarray(f)
        for (let l = 0; l < length; l++) {
          for (let bit = 0; bit < width; bit++) {
            seen[8 * (at + l) + shift + bit]++
            told[first + l * step] |= 1 << (from + bit)
          }
          // Five digits of a byte, or four of the last bytes.
          if (width === 0) {
            if (shift === 0) seen.fill(1, 8 * (at + l), 8 * (at + l + 1))
            told[first + l * step] = 2 ** bits - 1
          }
        }
      }
      assert.ok(
        told.every((all) => all === 2 ** bits - 1),
        'every bit of every value is in the block',
      )
    }
    const takeScales = ({ dtype, fields, nested }: BlockScales) => {
      const groups = values / groupSize
      if (!nested && dtype === 'float16') return take(fields, 2 * groups, 8)
      take(fields, groups, nested?.bits ?? (dtype === 'float8_e4m3fn' ? 7 : 8))
      if (nested) take([{ at: nested.at, bits: 8, span: 2 }], 2, 8)
    }
    take(codes, values, type.bits)
    takeScales(scale)
    if (shift) takeScales(shift)
    // Of NVFP4's scales no sign is read.
    const signs = name === 'NVFP4' ? [7, 15, 23, 31] : []
    assert.deepEqual(
      [...seen.entries()].filter(([bit, times]) => times !== (signs.includes(bit) ? 0 : 1)),
      [],
    )
  })
}
