import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ByteStrings, byteStrings } from '../../src/formats/ggufStrings.ts'
import { TokenTable } from '../../src/models/tokenization/tokenTable.ts'

/** Strings as a GGUF file lists them. */
function listed(...strings: (string | number[])[]) {
  let end = 0
  const ends: number[] = []
  const parts = strings.flatMap((one) => {
    const bytes = Buffer.from(one as string)
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(bytes.length))
    end += 8 + bytes.length
    ends.push(end)
    return [length, bytes]
  })
  return { bytes: new Uint8Array(Buffer.concat(parts)), ends: Uint32Array.from(ends) }
}

function made(strings: ByteStrings): TokenTable {
  const steps = TokenTable.inSteps(
    strings,
    (token, first, second) => new Error(`${token} ${first} ${second}`),
  )
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

const table = (...strings: (string | number[])[]) =>
  made(byteStrings(listed(...strings), (id) => `[EMPTY_${id}]`))

test('ids by token and tokens by id', () => {
  const texts = ['a', 'ab', 'b', 'é', 'Ġthe', '😀', 'ba', '<|end|>', 'x'.repeat(300)]
  const tokens = table(...texts)
  assert.equal(tokens.size, texts.length)
  assert.deepEqual([...tokens], texts)
  for (const [id, text] of texts.entries()) {
    assert.equal(tokens.get(text), id)
    assert.equal(tokens.tokenOf(id), text)
  }
  for (const stranger of ['', 'aba', 'A', 'e', 'É', 'x'.repeat(299), 'é'.repeat(200)]) {
    assert.equal(tokens.get(stranger), undefined)
    assert.equal(tokens.has(stranger), false)
  }
  for (const id of [texts.length, -1, 0.5, Number.NaN]) assert.equal(tokens.tokenOf(id), undefined)
})

test('every one of many is found', () => {
  const texts = Array.from({ length: 40_000 }, (_, i) => i.toString(36))
  const tokens = table(...texts)
  for (const [id, text] of texts.entries()) assert.equal(tokens.get(text), id)
  // In whichever step the second comes.
  assert.throws(() => table(...texts, 'a'), /^Error: a 10 40000$/)
  assert.throws(() => table('a', ...texts), /^Error: a 0 11$/)
})

test('a token that two others make is found, whatever is guessed', () => {
  const tokens = table('ab', 'cd', 'abcd', 'abc')
  const bytes = new TextEncoder().encode('..ab cd')
  for (const guess of [0, 2, 3, 4, 9]) assert.equal(tokens.joinedAt(bytes, 2, 4, 7, guess), 2)
  for (const guess of [0, 2, 3]) assert.equal(tokens.joinedAt(bytes, 2, 4, 5, guess), 0)
  assert.equal(tokens.joinedAt(bytes, 1, 4, 7, 2), -1)
})

test('empty tokens have a name, bytes that are no UTF-8 are U+FFFD, equal ones are refused', () => {
  assert.deepEqual([...table('a', '', 'b')], ['a', '[EMPTY_1]', 'b'])
  // A character that is cut in two is none in either part.
  assert.deepEqual([...table('a', [0xc3], 'b')], ['a', '\ufffd', 'b'])
  assert.throws(() => table('a', [0xc3], [0xa9]), /\ufffd 1 2/)
  assert.throws(() => table('x', 'a', 'b', 'a'), /a 1 3/)
})

test('no file can choose tokens that all fall into the same slots', () => {
  const count = 8000
  const mask = 2 ** 14 - 1
  const slotOf = (token: Uint8Array) => {
    const hash = token.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5)
    return (hash ^ (hash >>> 15)) & mask
  }
  const tokenOf = (number: number) => new TextEncoder().encode(number.toString(36).padStart(8, '0'))
  const chosen: Uint8Array[] = []
  for (let number = 0; chosen.length < count; number++) {
    const token = tokenOf(number)
    if (slotOf(token) < 64) chosen.push(token)
  }
  const least = (tokens: Uint8Array[]) => {
    const bytes = new Uint8Array(tokens.flatMap((token) => [...token]))
    const ends = Uint32Array.from(tokens, (_, i) => 8 * (i + 1))
    const times = [0, 1, 2].map(() => {
      const started = performance.now()
      made({ bytes, ends })
      return performance.now() - started
    })
    return Math.min(...times)
  }
  const ordinary = least(Array.from({ length: count }, (_, number) => tokenOf(number)))
  const ours = least(chosen)
  // From a beginning that is known it takes some two hundred times as long.
  assert.ok(ours < 10 * ordinary, `${ours} ms beside ${ordinary} ms`)
})
