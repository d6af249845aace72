import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

test('the tables of kernels and types are what native/def.mjs makes of kernels.def and types.def', async () => {
  const def = await import(new URL('../../native/def.mjs', import.meta.url).href)
  for (const [path, text] of Object.entries(def.madeFiles())) {
    const committed = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
    assert.equal(committed, text, `${path}: run "node native/def.mjs"`)
  }
  assert.throws(() => def.parseKernels('[a]\nf(in f32 x)'), /kernels.def:2: must be/)
  assert.throws(
    () => def.parseKernels('[a]\nf(in T(d)* x, i32 d)'),
    /kernels.def:2: T\(d\)\* needs an argument "dtype d"/,
  )
  assert.throws(
    () => def.parseKernels('f(in f32* x)'),
    /kernels.def:1: a heading "\[family\]" must come before/,
  )
  const { parseDTypes, parseTypes } = await import(new URL('../../native/types.mjs', import.meta.url).href)
  assert.throws(
    () => parseTypes('qint9 9 unsigned # a'),
    /types.def:1: must read "name bits values # text", bits 1/,
  )
  assert.throws(
    () => parseTypes('a 4 codebook 1 2 # a'),
    /types.def:1: a codebook must have 4 bits and 16 numbers/,
  )
  assert.throws(
    () => parseTypes('a 8 float float16 1 # a'),
    /types.def:1: 8 bits must have a dtype of float8_e4m3fn/,
  )
  assert.throws(() => parseDTypes('dtype a 3 Uint8Array'), /types.def:1: must read "dtype name bytes array"/)
})
