import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { families } from '../../src/models/families/index.ts'

test('docs/families.md lists every family, and which of them GGUF files can hold', () => {
  const page = readFileSync(new URL('../../docs/families.md', import.meta.url), 'utf8')
  const listed = [...page.matchAll(/^\| `(\w+)` \|.*\| (no|`[\w-]+`) \|$/gm)].map(([, type, gguf]) => [
    type,
    gguf,
  ])
  const known = families.map(({ modelTypes: [type], gguf }) => [
    type,
    gguf ? `\`${gguf.architecture}\`` : 'no',
  ])
  assert.deepEqual(listed.sort(), known.sort())
})
