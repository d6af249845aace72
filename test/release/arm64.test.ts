import assert from 'node:assert/strict'
import { test } from 'node:test'
import { root, run } from './environment.ts'

test('the kernels agree with their definitions on ARM, too, in an emulator', (t) => {
  const all = process.env.LOWBIT_RELEASE_TESTS === 'all' ? ['--all'] : []
  const said = run(process.execPath, ['native/emulate.mjs', ...all], root, process.env, true)
  t.diagnostic(said.trim())
  assert.match(said, /^[1-9]\d{2,} cases, 0 failures$/m)
})
