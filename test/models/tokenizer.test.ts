import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mock, test } from 'node:test'
import fc from 'fast-check'
import { Pipeline } from '../../src/models/tokenization/pipeline.ts'
import { Tokenizer } from '../../src/models/tokenizer.ts'

type Json = Record<string, unknown> & {
  model: { type: string; vocab: Record<string, number>; merges: unknown[] }
  added_tokens: { content: string }[]
}

interface Truth {
  /** A text, its ids, and their text without and with special tokens. */
  tokenizers: Record<
    string,
    { json: Json; cases: [text: string, ids: number[], decoded: string, withSpecial: string][] }
  >
  cleanup: { json: Json; config: Record<string, unknown>; ids: number[][]; texts: string[] }[]
}

/** What Python's tokenizers and transformers gave; made by scripts/make-language-fixtures.py. */
const truth: Truth = JSON.parse(readFileSync(new URL('../golden/language.json', import.meta.url), 'utf8'))

for (const [name, { json, cases }] of Object.entries(truth.tokenizers)) {
  test(`added tokens within text, ${name}: ids and text are those of tokenizers`, async () => {
    const tokenizer = await Tokenizer.fromJson(json, {})
    for (const [text, ids, decoded, withSpecial] of cases) {
      assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text))
      assert.equal(tokenizer.decode(ids), decoded, JSON.stringify(text))
      assert.equal(tokenizer.decode(ids, { skipSpecialTokens: false }), withSpecial, JSON.stringify(text))
    }
  })
}

/** What a stream tells of these tokens, piece by piece. */
function streamed(tokenizer: Tokenizer, ids: readonly number[]): string[] {
  const stream = tokenizer.decodeStream()
  const pieces = ids.map((id) => stream.add(id))
  pieces.push(stream.end())
  assert.equal(pieces.join(''), tokenizer.decode(ids))
  return pieces
}

for (const { json, config, ids, texts } of truth.cleanup) {
  test(`clean-up of spaces, ${json.model.type}, ${JSON.stringify(config)}: text is that of transformers, and its pieces add up`, async () => {
    const tokenizer = await Tokenizer.fromJson(json, config)
    for (const [i, stream] of ids.entries()) {
      assert.equal(tokenizer.decode(stream), texts[i], JSON.stringify(stream))
      assert.equal(streamed(tokenizer, stream).join(''), texts[i])
    }
  })
}

test('pieces of any tokens add up to their text, whatever the tokenizer', async () => {
  const all = [...Object.values(truth.tokenizers).map(({ json }) => ({ json, config: {} })), ...truth.cleanup]
  for (const { json, config } of all) {
    const tokenizer = await Tokenizer.fromJson(json, config)
    const ids = fc.array(fc.nat({ max: tokenizer.vocabularySize + 2 }), { maxLength: 30 })
    fc.assert(
      fc.property(ids, (some) => void streamed(tokenizer, some)),
      { numRuns: 100 },
    )
  }
})

test('a token is decoded behind few others, however long the text is', async () => {
  const { json } = truth.tokenizers['byte level']
  const tokenizer = await Tokenizer.fromJson(json, {})
  const { c, a, t } = json.model.vocab
  const decode = mock.method(Pipeline.prototype, 'decode')
  const decodeSettled = mock.method(Pipeline.prototype, 'decodeSettled')
  const stream = tokenizer.decodeStream()
  const ids = Array.from({ length: 3000 }, (_, i) => [c, a, t][i % 3])
  assert.equal(ids.map((id) => stream.add(id)).join(''), 'cat'.repeat(1000))
  const calls = [...decode.mock.calls, ...decodeSettled.mock.calls]
  mock.restoreAll()
  const longest = Math.max(...calls.map(({ arguments: [some] }) => some.length))
  assert.ok(calls.length > 0 && longest <= 3, `${longest} tokens at once`)
})

test('a character over several tokens comes whole; text before it does not wait; a run that is no text is lost whole, as in Python', async () => {
  const { json } = truth.tokenizers.pieces
  const tokenizer = await Tokenizer.fromJson(json, {})
  const byte = (value: number) => json.model.vocab[`<0x${value.toString(16).toUpperCase()}>`]
  const { a, b } = json.model.vocab
  const euro = [0xe2, 0x82, 0xac].map(byte)
  assert.deepEqual(streamed(tokenizer, [a, ...euro, b]), ['a', '', '', '', '€b', ''])
  assert.deepEqual(streamed(tokenizer, [a, ...euro]), ['a', '', '', '', '€'])
  // A byte that begins a character which never comes.
  const lost = '\ufffd'.repeat(4)
  assert.deepEqual(streamed(tokenizer, [a, ...euro, euro[0], b]), ['a', '', '', '', '', `${lost}b`, ''])
})

test('ids that the vocabulary does not have give no text, as in Python', async () => {
  const { json } = truth.tokenizers['byte level']
  const tokenizer = await Tokenizer.fromJson(json, {})
  const { c, a } = json.model.vocab
  assert.equal(tokenizer.decode([c, 10_000, a]), 'ca')
  assert.equal(tokenizer.decode([10_000]), '')
})

/** A copy of the byte-level tokenizer with changes to its model. */
async function changed(change: (model: Record<string, unknown> & Json['model']) => void): Promise<Tokenizer> {
  const json = structuredClone(truth.tokenizers['byte level'].json)
  change(json.model)
  return Tokenizer.fromJson(json, {}, 'x/tokenizer.json')
}

test('what Python refuses and would lose text is refused in one sentence', async () => {
  const refuses = async (change: Parameters<typeof changed>[0], message: string) => {
    const tokenizer = await changed(change)
    assert.throws(() => tokenizer.encode('cab'), { name: 'FormatError', message })
  }
  const rule = 'x/tokenizer.json: model.merges must make tokens of the vocabulary of two others'
  await refuses(({ merges }) => merges.push(['b', 'c']), `${rule}; "bc" in number 5, ["b","c"], is none`)
  await refuses(({ merges }) => merges.push(['at', 'x']), `${rule}; "atx" in number 5, ["at","x"], is none`)
  await refuses(({ vocab }) => void delete vocab.h, `${rule}; "h" in number 3, ["h","e"], is none`)
  await refuses(
    ({ merges }) => merges.push('a b c'),
    'x/tokenizer.json: model.merges must be pairs of tokens; number 5 is "a b c"',
  )
  await refuses(
    (model) => Object.assign(model, { unk_token: '<unk>', vocab: { c: 0 }, merges: [] }),
    'x/tokenizer.json: the vocabulary must hold "<unk>"; it does not',
  )
})
