import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { DType } from '../../src/core/dtype.ts'
import { decodeFloat, encodeFloat, roundHalfEven, roundTo, toNumbers } from '../../src/core/halves.ts'

// Made with PyTorch by scripts/make-halves-fixtures.py.
const golden = JSON.parse(readFileSync(new URL('../golden/halves.json', import.meta.url), 'utf8')) as {
  dtypes: Record<DType, { nan: number; decoded: string; encoded: string }>
}

function sha256(array: Float32Array | Uint16Array | Uint8Array): string {
  return createHash('sha256').update(new Uint8Array(array.buffer)).digest('hex')
}

for (const [name, { nan, decoded, encoded }] of Object.entries(golden.dtypes)) {
  const dtype = name as DType
  const Patterns = name.startsWith('float8') ? Uint8Array : Uint16Array
  const patterns = new Patterns(2 ** (8 * Patterns.BYTES_PER_ELEMENT))
  for (let i = 0; i < patterns.length; i++) patterns[i] = i

  test(`${name}: every pattern decodes as in PyTorch, alone and in bulk`, () => {
    const values = toNumbers(dtype, patterns) as Float32Array
    for (const pattern of patterns)
      assert.ok(Object.is(decodeFloat(dtype, pattern), values[pattern]), `pattern ${pattern}`)
    const bits = new Uint32Array(values.buffer)
    for (let i = 0; i < bits.length; i++) if (Number.isNaN(values[i])) bits[i] = 0x7fc00000
    assert.equal(sha256(values), decoded)
  })

  test(`${name}: three million float32, all midpoints among them, encode as in PyTorch`, () => {
    const input = new Float32Array(1)
    const bits = new Uint32Array(input.buffer)
    const result = new Patterns(3 * 2 ** 20)
    for (let i = 0; i < result.length; i++) {
      bits[0] = Math.floor(i / 3) * 4096 + (i % 3) - 1
      result[i] = Number.isNaN(input[0]) ? nan : encodeFloat(dtype, input[0])
    }
    assert.equal(sha256(result), encoded)
  })
}

test('values worked by hand', () => {
  assert.equal(encodeFloat('float16', 1), 0x3c00)
  assert.equal(encodeFloat('float16', -2), 0xc000)
  assert.equal(encodeFloat('float16', 65504), 0x7bff)
  assert.equal(encodeFloat('float16', 65520), 0x7c00) // half a step above the largest: ties to the even neighbour, infinity
  assert.equal(encodeFloat('float16', 2 ** -24), 1)
  assert.equal(encodeFloat('float16', 2 ** -25), 0)
  assert.equal(encodeFloat('bfloat16', 1 + 2 ** -8), 0x3f80) // a tie, down to even
  assert.equal(encodeFloat('bfloat16', 1 + 3 * 2 ** -8), 0x3f82) // a tie, up to even
  assert.equal(encodeFloat('float8_e4m3fn', 448), 0x7e)
  assert.equal(encodeFloat('float8_e4m3fn', 17), 0x58) // 16 and 18 are neighbours, 16 has the even mantissa
  assert.equal(encodeFloat('float8_e4m3fn', -1e9), 0xfe) // saturates
  assert.equal(encodeFloat('float8_e5m2', Infinity), 0x7c)
  assert.equal(encodeFloat('float8_e4m3fnuz', -1e-9), 0) // no -0
  assert.equal(encodeFloat('float8_e4m3fnuz', 300), 0x80) // NaN
  assert.equal(encodeFloat('float32', 0.1), Math.fround(0.1))
  assert.equal(roundTo('bfloat16', Math.PI), 3.140625)
  assert.ok(Number.isNaN(roundTo('float16', NaN)))
  assert.deepEqual([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, -2.6].map(roundHalfEven), [0, 2, 2, 0, -2, 2, -3])
})

test('a dtype that is not a float is refused', () => {
  assert.throws(() => encodeFloat('int8', 1), /must be a float; received int8/)
  assert.throws(() => decodeFloat('int64', 1), /must be a float; received int64/)
})
