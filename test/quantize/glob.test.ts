import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { globMatcher } from '../../src/quantize/glob.ts'

const paths = [
  'lm_head',
  'model.layers.0.mlp.up_proj',
  'model.layers.10.mlp.up_proj',
  'model.embed_tokens',
  'a[b]',
  'x^y',
  'a.b+c',
  'A',
  'model/x',
  '',
]

test("globs match what Python's fnmatch.fnmatchcase matches", () => {
  // fnmatch.json: [pattern, the paths that Python 3.11 says it matches].
  const truth: [string, string[]][] = JSON.parse(
    readFileSync(new URL('./fnmatch.json', import.meta.url), 'utf8'),
  )
  for (const [pattern, matched] of truth)
    assert.deepEqual(paths.filter(globMatcher(pattern)), matched, pattern)
})

test('a list of globs matches what any of them matches', () => {
  assert.deepEqual(paths.filter(globMatcher(['lm_head', 'A'])), ['lm_head', 'A'])
  assert.deepEqual(paths.filter(globMatcher([])), [])
})
