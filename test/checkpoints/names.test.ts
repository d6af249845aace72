import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pathsByAlias, renamed } from '../../src/checkpoints/names.ts'
import { refuseProblems } from '../../src/checkpoints/problems.ts'
import type { TensorFile } from '../../src/formats/tensorFile.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'

class Net extends Module {
  model = { decoder: new Linear(2, 2), head: new Linear(2, 2) }
}

function fileOf(...names: string[]): TensorFile {
  const infos = names.map(
    (name) => ({ name, dtype: 'float32', shape: [1], byteLength: 4, byteOffset: 0 }) as const,
  )
  return {
    name: 'file',
    tensors: new Map(infos.map((info) => [info.name, info])),
    unknown: new Map([['strange', { name: 'strange', type: 'type 99' }]]),
    read: async (name) => new TextEncoder().encode(name),
    readRows: async (name, start, end) => new TextEncoder().encode(`${name} ${start} ${end}`),
    readBytes: async (name, from, length) => new TextEncoder().encode(`${name} ${from} ${length}`),
    close: async () => {},
  }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

test('tensors are found by their paths, and read by their names', async () => {
  const file = renamed(fileOf('a.weight', 'other'), (name) => (name === 'a.weight' ? 'fc.weight' : null))
  assert.deepEqual([...file.tensors.keys()], ['fc.weight', 'other'])
  assert.equal(file.tensors.get('fc.weight')?.name, 'a.weight')
  assert.equal(text(await file.read('fc.weight')), 'a.weight')
  assert.equal(text(await file.readRows('fc.weight', 1, 2)), 'a.weight 1 2')
  assert.deepEqual([...file.unknown.keys()], ['strange'])
})

test('of two names of one path the path itself counts, in whichever order they stand', async () => {
  for (const names of [
    ['fc.weight', 'old.weight'],
    ['old.weight', 'fc.weight'],
  ]) {
    const file = renamed(fileOf(...names), (name) => name.replace('old', 'fc'))
    assert.equal(text(await file.read('fc.weight')), 'fc.weight')
  }
})

test('the longest part of a name that the model knows decides', () => {
  const aliases: Record<string, string[]> = {
    'model.decoder': ['transformer.h', 'h'],
    'model.head': ['h.out'],
  }
  const pathOf = pathsByAlias(new Net(), (path) => aliases[path] ?? [])
  assert.equal(pathOf('transformer.h.weight'), 'model.decoder.weight')
  assert.equal(pathOf('h.bias'), 'model.decoder.bias')
  assert.equal(pathOf('h.out.weight._scale'), 'model.head.weight._scale')
  assert.equal(pathOf('model.head.weight'), 'model.head.weight')
  assert.equal(pathOf('hh.weight'), 'hh.weight')
})

test('six problems are said, the others counted; advice comes last', () => {
  const problems = Array.from(
    { length: 8 },
    (_, i) => ({ tensor: `t${i}`, kind: 'missing', problem: 'is missing' }) as const,
  )
  refuseProblems('file', [])
  assert.throws(() => refuseProblems('file: must fit', problems.slice(0, 1)), {
    name: 'FormatError',
    message: 'file: must fit; t0 is missing',
  })
  const listed = Array.from({ length: 6 }, (_, i) => `t${i} is missing`).join('; ')
  assert.throws(() => refuseProblems('file: must fit', problems, 'do this'), {
    message: `file: must fit; ${listed}; and 2 more; do this`,
  })
})
