import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Stack, unstacked } from '../../src/checkpoints/stacks.ts'
import type { TensorFile, TensorInfo } from '../../src/formats/tensorFile.ts'

/** Bytes 0, 1, 2 … of each tensor. */
function fileOf(shapes: Record<string, number[]>): TensorFile {
  const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)
  const tensors = new Map(
    Object.entries(shapes).map(([name, shape]): [string, TensorInfo] => {
      return [name, { name, dtype: 'uint8', shape, byteLength: sizeOf(shape), byteOffset: 100 }]
    }),
  )
  const readBytes: TensorFile['readBytes'] = async (name, from, length) => {
    assert.ok(tensors.has(name), name)
    return Uint8Array.from({ length }, (_, i) => from + i)
  }
  return {
    ...{ name: 'x', tensors, unknown: new Map(), readBytes },
    read: (name) => readBytes(name, 0, sizeOf(shapes[name])),
    readRows: async () => assert.fail('rows'),
    close: async () => {},
  }
}

const stacks: Record<string, Stack> = {
  both: { parts: ['layers.0.experts.E.gate', 'layers.0.experts.E.up'] },
  turned: { parts: ['layers.0.experts.E.down'], turned: true },
  bias: { parts: ['layers.0.experts.E.bias'] },
}

test('the tensors of each expert are found in those of all, and read where they lie', async () => {
  const whole = fileOf({ both: [2, 4, 3], turned: [2, 3, 2], bias: [2, 4], other: [5] })
  const file = unstacked(
    whole,
    (path) => stacks[path] ?? null,
    () => 2,
  )
  const shapes = Object.fromEntries([...file.tensors].map(([path, { shape }]) => [path, shape]))
  assert.deepEqual(shapes, {
    'layers.0.experts.0.gate': [2, 3],
    'layers.0.experts.0.up': [2, 3],
    'layers.0.experts.1.gate': [2, 3],
    'layers.0.experts.1.up': [2, 3],
    'layers.0.experts.0.down': [2, 3],
    'layers.0.experts.1.down': [2, 3],
    'layers.0.experts.0.bias': [4],
    'layers.0.experts.1.bias': [4],
    other: [5],
  })
  const up = 'layers.0.experts.1.up'
  assert.deepEqual([...(await file.read(up))], [18, 19, 20, 21, 22, 23])
  assert.deepEqual([...(await file.readRows(up, 1, 2))], [21, 22, 23])
  assert.deepEqual([...(await file.readBytes(up, 2, 2))], [20, 21])
  assert.deepEqual(file.tensors.get(up)?.byteOffset, 118)
  // Messages say the name in the file.
  assert.equal(file.tensors.get(up)?.name, 'both')
  // Rows are those of the file: [3, 2] of each expert, columns in the model.
  assert.equal(file.tensors.get('layers.0.experts.1.down')?.columnMajor, true)
  assert.deepEqual([...(await file.readRows('layers.0.experts.1.down', 1, 3))], [8, 9, 10, 11])
  assert.deepEqual([...(await file.read('other'))], [0, 1, 2, 3, 4])
})

test('what cannot be taken apart stays as it is', () => {
  const whole = fileOf({ both: [2, 3, 3], bias: [7] })
  const file = unstacked(
    whole,
    (path) => stacks[path] ?? null,
    () => 2,
  )
  assert.deepEqual([...file.tensors.keys()], ['both', 'bias'])
})

test('a stack of more experts than the model has, or of none, is refused at once', () => {
  for (const shape of [
    [3_000_000, 0, 4],
    [0, 4, 4],
    [2, 4, 0],
    [3, 4, 4],
  ])
    assert.throws(
      () =>
        unstacked(
          fileOf({ both: shape }),
          (path) => stacks[path] ?? null,
          () => 2,
        ),
      {
        name: 'FormatError',
        message: `x: tensor "both" must hold the weights of at most 2 modules, as many as a list of the model has; its shape is [${shape.join(',')}]`,
        tensor: 'both',
      },
    )
})
