import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { FormatError } from '../../src/core/errors.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { planCausalLM } from '../../src/models/load.ts'
import { sentencePieceModel } from '../../src/models/tokenization/sentencePieceModel.ts'
import { vocabularyFiles } from '../../src/models/tokenization/vocabularyFiles.ts'
import { Tokenizer } from '../../src/models/tokenizer.ts'

type Config = Record<string, unknown>
type Case = [text: string, ids: number[], decoded: string]

/** What tokenizers, transformers and sentencepiece gave; made by scripts/make-tokenizer-fixtures.py. */
interface Truth {
  kinds: Record<string, { json: object; cases: Case[] }>
  files: Record<string, string>
  vocabularies: Record<
    string,
    { config: Config; more: Record<string, object>; cases: [string, number[], number[], string][] }
  >
  pieces: Record<string, { model: string; cases: Case[] }>
}
const truth: Truth = JSON.parse(readFileSync(new URL('../golden/tokenizers.json', import.meta.url), 'utf8'))

const plain = { addSpecialTokens: false }
const none = (name: string) => new JsonObject({}, name)

for (const [name, { json, cases }] of Object.entries(truth.kinds)) {
  test(`${name}: ids and text are those of tokenizers`, async () => {
    const tokenizer = await Tokenizer.fromJson(json, {})
    for (const [text, ids, decoded] of cases) {
      assert.deepEqual(tokenizer.encode(text, plain), ids, JSON.stringify(text))
      assert.equal(tokenizer.decode(ids), decoded, JSON.stringify(text))
    }
  })
}

/** The tokenizer.json of vocab.json and merges.txt beside these settings. */
function ofFiles(config: Config, more: Record<string, object> = {}, merges = truth.files['merges.txt']) {
  const vocabulary = new JsonObject(JSON.parse(truth.files['vocab.json']), 'vocab.json')
  return vocabularyFiles(vocabulary, merges, {
    config: new JsonObject(config, 'tokenizer_config.json'),
    special: new JsonObject(more['special_tokens_map.json'] ?? {}, 'special_tokens_map.json'),
    added: new JsonObject(more['added_tokens.json'] ?? {}, 'added_tokens.json'),
  })
}

for (const [name, { config, more, cases }] of Object.entries(truth.vocabularies)) {
  test(`vocab.json and merges.txt of ${name}: ids and text are those of transformers`, async () => {
    const tokenizer = await Tokenizer.fromJson(ofFiles(config, more), config)
    for (const [text, ids, inner, decoded] of cases) {
      assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text))
      assert.deepEqual(tokenizer.encode(text, plain), inner, JSON.stringify(text))
      assert.equal(tokenizer.decode(ids), decoded, JSON.stringify(text))
    }
  })
}

test('added_tokens.json has ids of its own; a class that is not known is named', async () => {
  const tokenizer = await Tokenizer.fromJson(ofFiles({}, { 'added_tokens.json': { '<new>': 500 } }), {})
  assert.deepEqual(tokenizer.encode('<new><new>'), [500, 500])
  assert.throws(() => ofFiles({ tokenizer_class: 'BartTokenizer' }), {
    name: 'FormatError',
    message:
      /^tokenizer_config.json: tokenizer_class must be one of GPT2Tokenizer, .*; received "BartTokenizer"$/,
  })
})

const settings = {
  config: none('tokenizer_config.json'),
  special: none('special_tokens_map.json'),
  added: none('added_tokens.json'),
}
const modelOf = (name: string) => new Uint8Array(Buffer.from(truth.pieces[name].model, 'base64'))

for (const [name, { cases }] of Object.entries(truth.pieces)) {
  test(`tokenizer.model, ${name}: ids and text are those of sentencepiece`, async () => {
    const tokenizer = await Tokenizer.fromJson(sentencePieceModel(modelOf(name), 'm', settings), {})
    for (const [text, ids, decoded] of cases) {
      assert.deepEqual(tokenizer.encode(text, plain), ids, JSON.stringify(text))
      assert.equal(tokenizer.decode(ids), decoded, JSON.stringify(text))
    }
    assert.equal(tokenizer.encode('x')[0], 1)
  })
}

test('a tokenizer.model that is cut off or changed is refused in a sentence, or read', () => {
  const whole = modelOf('llama').subarray(0, 900)
  const change = fc.record({ at: fc.nat({ max: whole.length - 1 }), to: fc.nat({ max: 255 }) })
  const read = (bytes: Uint8Array) => {
    try {
      sentencePieceModel(bytes, 'm', settings)
    } catch (error) {
      assert.ok(error instanceof FormatError, String(error))
      assert.match(error.message, /^m: [^\n]{10,}$/)
    }
  }
  for (let length = 0; length < whole.length; length += 7) read(whole.subarray(0, length))
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const bytes = whole.slice()
      for (const { at, to } of changes) bytes[at] = to
      read(bytes)
    }),
    { numRuns: 300 },
  )
  assert.throws(() => sentencePieceModel(new Uint8Array([10, 255, 255, 255, 255, 15]), 'm', settings), {
    message: 'm: a field must lie within the 6 bytes of its message; one has 4294967295 from byte 6 on',
  })
  assert.throws(() => sentencePieceModel(new Uint8Array(), 'm', settings), {
    message: 'm: must be a SentencePiece model; it has no pieces',
  })
})

test('a tokenizer.model that does what a tokenizer.json cannot say is refused', () => {
  const message = (number: number, ...bytes: number[]) => [number * 8 + 2, bytes.length, ...bytes]
  const length = (size: number) => [(size % 128) + 128, Math.floor(size / 128)]
  const piece = message(1, ...message(1, 97))
  const [bpe, unigram] = [2, 1].map((kind) => message(2, 3 * 8, kind))
  /** Field 24 of the trainer, whose key takes two bytes, and fields 5 and 4 of the normalizer. */
  const [asSuffix, unescaped] = [message(2, 0xc0, 1, 1), message(3, 5 * 8, 0)]
  const score = (...bytes: number[]) => message(1, ...message(1, 97), ...bytes)
  const long = new Array(257).fill(97)
  const longPiece = [10, ...length(257 + 3), 10, ...length(257), ...long]
  const cases: [bytes: number[], rule: string][] = [
    [[...piece, ...asSuffix], 'treat_whitespace_as_suffix must be false; it is true'],
    [[...piece, ...bpe, ...unescaped], 'escape_whitespaces must be true; it is false'],
    [score(2 * 8, 1), 'a score must have 4 bytes; one has none'],
    [score(2 * 8 + 2, 2, 0, 0), 'a score must have 4 bytes; one has 2'],
    [score(2 * 8 + 5, 0, 0, 0xc0, 0x7f), 'a score must be a number; one is NaN'],
    ...[bpe, unigram].map((kind): [number[], string] => [
      [...longPiece, ...kind],
      'tokens must have at most 256 characters; token 0 has 257',
    ]),
  ]
  for (const [bytes, rule] of cases)
    assert.throws(() => sentencePieceModel(new Uint8Array(bytes), 'm', settings), {
      name: 'FormatError',
      message: `m: ${rule}`,
    })
  for (const kind of [bpe, unigram])
    assert.doesNotThrow(() => sentencePieceModel(new Uint8Array([...piece, ...kind]), 'm', settings))
})

/** The plan of the embedded model's folder with these files in place of its tokenizer's. */
async function planned(files: Record<string, string | Uint8Array>) {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-tokenizer-'))
  try {
    cpSync('models/stories260K', folder, { recursive: true })
    for (const file of ['tokenizer.json', 'tokenizer_config.json']) rmSync(join(folder, file))
    for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, file), content)
    const plan = await planCausalLM(folder)
    const saved = new Map(plan.model.savedFiles())
    await plan.close()
    return { warnings: plan.warnings, tokenizer: plan.model.tokenizer, saved }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('a folder without tokenizer.json has what its older files say, and is saved with one that says the same', async () => {
  const folders = {
    'vocab.json and merges.txt': truth.files,
    'tokenizer.model': { 'tokenizer.model': modelOf('llama') },
  }
  for (const [name, files] of Object.entries(folders)) {
    const { warnings, tokenizer, saved } = await planned(files)
    assert.deepEqual(warnings, [], name)
    const text = 'Once upon a time, Grüße 日本.'
    const ids = tokenizer?.encode(text)
    assert.ok(ids && ids.length > 5)
    assert.equal(tokenizer?.decode(ids), text)
    const again = await Tokenizer.fromJson(JSON.parse(saved.get('tokenizer.json') ?? ''), {})
    assert.deepEqual(again.encode(text), ids)
  }
  const { tokenizer, warnings } = await planned({ 'tokenizer.model': modelOf('llama').subarray(0, 1000) })
  assert.equal(tokenizer, null)
  assert.match(
    warnings.join(),
    /tokenizer.model: a field must lie within .*; so the model takes token ids only$/,
  )
})

test('a chat template stands in a file of its own, as newer folders and those of models that see have it', async () => {
  const hi = [{ role: 'user', content: 'hi' }]
  const config = JSON.stringify({ chat_template: 'old' })
  const see = { 'chat_template.json': JSON.stringify({ chat_template: 'json {{ messages[0].content }}' }) }
  const files = { ...truth.files, 'tokenizer_config.json': config }
  const rendered = async (more: object) =>
    (await planned({ ...files, ...more })).tokenizer?.applyChatTemplate(hi)
  assert.equal(await rendered({}), 'old')
  assert.equal(await rendered(see), 'json hi')
  assert.equal(
    await rendered({ ...see, 'chat_template.jinja': 'jinja {{ messages[0].content }}' }),
    'jinja hi',
  )
})
