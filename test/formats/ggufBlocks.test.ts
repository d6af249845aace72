import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ggufTypeOfId, ggufTypes } from '../../src/formats/ggufBlocks.ts'
import { blockTypes } from '../../src/kernels/layout/tileBlocks/tileBlocks.ts'

test('types are found by their id', () => {
  assert.equal(ggufTypeOfId(2), 'Q4_0')
  assert.equal(ggufTypeOfId(4), undefined, 'a type that ggml took back')
  assert.equal(ggufTypeOfId(1000), undefined)
})

test('the kernel and the file agree on ids and sizes', () => {
  for (const [name, { type, bytes }] of Object.entries(blockTypes)) {
    const { id, bytes: blockBytes, values } = ggufTypes[name as keyof typeof blockTypes]
    assert.deepEqual([id, blockBytes, values], [type, bytes, 32], name)
  }
})
