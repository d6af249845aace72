import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listExports } from '../../scripts/exports.ts'

test('every export has a sentence that says what it is', () => {
  const found = listExports()
  // What the index surely exports: were the list empty, nothing would be checked.
  for (const name of ['quantize', 'Tensor', 'LoadOptions', 'qint4', 'matmul', 'normalize']) {
    assert.ok(
      found.some((entry) => entry.name === name),
      name,
    )
  }
  const silent = found.filter(({ sentence }) => !/\p{L}.*[.:]$/u.test(sentence))
  assert.deepEqual(
    silent.map(({ name, file }) => `${name} in ${file}`),
    [],
  )
})
