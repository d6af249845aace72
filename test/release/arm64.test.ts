import assert from 'node:assert/strict'
import { test } from 'node:test'
import { root, run } from './environment.ts'

test('the kernels agree with their definitions on ARM, too, in an emulator', (t) => {
  const said = run(process.execPath, ['native/emulate.mjs'], root, process.env, true)
  t.diagnostic(said.trim())
  assert.match(said, /^[1-9]\d{3,} cases, 0 failures$/m)
})
