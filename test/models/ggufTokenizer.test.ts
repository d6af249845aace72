import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { openGguf } from '../../src/formats/gguf.ts'
import type { GgufMetadata } from '../../src/formats/ggufMetadata.ts'
import { bytesSource } from '../../src/formats/source.ts'
import { ggufTokenizer } from '../../src/models/ggufTokenizer.ts'
import { Tokenizer } from '../../src/models/tokenizer.ts'
import {
  bool,
  f32,
  fixtures,
  gguf,
  list,
  string,
  strings,
  u32,
  uint32,
  type Value,
} from '../formats/ggufBytes.ts'
import { storiesSource } from './ggufModel.ts'

interface Expected {
  lines: string[]
  /** Ids by the pre-tokenizer's name, of the first lines. */
  bytelevel: Record<string, number[][]>
  stories260K: number[][]
  stories260K_text: string[]
}

/** What the library `tokenizers` gave, from its own pre-tokenizers. */
const expected: Expected = JSON.parse(readFileSync(`${fixtures}tokens.json`, 'utf8'))

/** The tokenizer as a model of the file has it, and by the tokenizer.json that is saved with the model. */
async function tokenizersOf(metadata: GgufMetadata): Promise<Tokenizer[]> {
  const made = ggufTokenizer(metadata)
  assert.ok(made)
  const { parts, tokenizer, config, vocabularySize } = made
  const lazy = await Tokenizer.lazy(parts, config, vocabularySize, 'x')
  return [lazy, await Tokenizer.fromJson(tokenizer(), config)]
}

async function tokenizerOf(metadata: GgufMetadata): Promise<Tokenizer> {
  const [lazy] = await tokenizersOf(metadata)
  return lazy
}

test('SentencePiece: ids and text of many kinds are those of the original tokenizer.json', async () => {
  const { metadata } = await openGguf(storiesSource('q8_0'))
  for (const tokenizer of await tokenizersOf(metadata))
    for (const [i, line] of expected.lines.entries()) {
      assert.deepEqual(tokenizer.encode(line), expected.stories260K[i], JSON.stringify(line))
      assert.equal(
        tokenizer.decode(expected.stories260K[i]),
        expected.stories260K_text[i],
        JSON.stringify(line),
      )
    }
})

for (const [name, ids] of Object.entries(expected.bytelevel)) {
  test(`byte-level, ${name}: ids are those of tokenizers`, async () => {
    const { metadata } = await openGguf(bytesSource(renamed(readFileSync(`${fixtures}bytelevel.gguf`), name)))
    assert.equal(metadata.string('tokenizer.ggml.pre'), name)
    for (const tokenizer of await tokenizersOf(metadata))
      for (const [i, line] of expected.lines.slice(0, ids.length).entries()) {
        assert.deepEqual(tokenizer.encode(line, { addSpecialTokens: false }), ids[i], JSON.stringify(line))
        // Python's text is UTF-8: a character that no token holds comes back from its bytes.
        assert.equal(tokenizer.decode(ids[i], { skipSpecialTokens: false }), line)
      }
  })
}

/** The file with another pre-tokenizer's name. */
function renamed(file: Buffer, name: string): Buffer {
  const key = 'tokenizer.ggml.pre'
  // The key, a type, a length, and "gpt-2".
  const at = file.indexOf(key) + key.length + 4
  return Buffer.concat([file.subarray(0, at), string(name)[1], file.subarray(at + 8 + 'gpt-2'.length)])
}

const small: Record<string, Value> = {
  'tokenizer.ggml.model': string('gpt2'),
  'tokenizer.ggml.tokens': strings('a', 'b', 'ab', '<end>', '', '<think>'),
  'tokenizer.ggml.token_type': list(5, 6, ...[1, 1, 1, 3, 5, 4].map(u32)),
  'tokenizer.ggml.merges': strings('a b'),
  'tokenizer.ggml.eos_token_id': uint32(3),
}
const open = async (changes: Record<string, Value | null> = {}) => {
  const keys = Object.entries({ ...small, ...changes }).flatMap(([key, value]) =>
    value ? [[key, value] as const] : [],
  )
  return (await openGguf(bytesSource(gguf({ keys }), 'x'))).metadata
}

test('special tokens: matched whole, added as the file says, skipped in text', async () => {
  const plain = await tokenizerOf(await open())
  assert.deepEqual(plain.encode('ab<end><think>a'), [2, 3, 5, 0])
  assert.equal(plain.decode([2, 3, 5, 0]), 'ab<think>a')
  assert.equal(plain.vocabularySize, 6)
  const both = {
    'tokenizer.ggml.bos_token_id': uint32(5),
    'tokenizer.ggml.add_bos_token': bool(1),
    'tokenizer.ggml.add_eos_token': bool(1),
  }
  assert.deepEqual((await tokenizerOf(await open(both))).encode('ab'), [5, 2, 3])
  const llama3 = { 'tokenizer.ggml.bos_token_id': uint32(5), 'tokenizer.ggml.pre': string('llama-bpe') }
  assert.deepEqual((await tokenizerOf(await open(llama3))).encode('ab'), [5, 2])
  assert.deepEqual(ggufTokenizer(await open())?.config, {
    tokenizer_class: 'PreTrainedTokenizerFast',
    clean_up_tokenization_spaces: false,
    eos_token: '<end>',
  })
})

test('SentencePiece: merges follow the scores, bytes spell the rest, no space is put before where the file says so', async () => {
  const keys: Record<string, Value> = {
    'tokenizer.ggml.model': string('llama'),
    // "ab" is likelier than "bc".
    'tokenizer.ggml.tokens': strings('<unk>', 'a', 'b', 'c', 'ab', 'bc', '▁', '<0xC3>', '<0xA9>'),
    'tokenizer.ggml.scores': list(6, 9, ...[0, -1, -2, -3, -4, -5, -6, 0, 0].map(f32)),
    'tokenizer.ggml.token_type': list(5, 9, ...[2, 1, 1, 1, 1, 1, 1, 6, 6].map(u32)),
    'tokenizer.ggml.unknown_token_id': uint32(0),
    'tokenizer.ggml.merges': string('unused'),
    'tokenizer.ggml.eos_token_id': uint32(1),
  }
  assert.deepEqual((await tokenizerOf(await open(keys))).encode('abc é'), [6, 4, 3, 6, 7, 8])
  assert.deepEqual(
    (await tokenizerOf(await open({ ...keys, 'tokenizer.ggml.add_space_prefix': bool(0) }))).encode('abc'),
    [4, 3],
  )
  const swapped = list(6, 9, ...[0, -1, -2, -3, -5, -4, -6, 0, 0].map(f32))
  assert.deepEqual(
    (await tokenizerOf(await open({ ...keys, 'tokenizer.ggml.scores': swapped }))).encode('abc'),
    [6, 1, 5],
  )
  await assert.rejects(
    async () =>
      ggufTokenizer(await open({ ...keys, 'tokenizer.ggml.scores': list(6, 1, f32(0)) }))?.tokenizer(),
    /scores" must have as many elements/,
  )
  const long = strings('<unk>', 'a'.repeat(257), 'b', 'c', 'ab', 'bc', '▁', 'd', 'e')
  await assert.rejects(
    async () => ggufTokenizer(await open({ ...keys, 'tokenizer.ggml.tokens': long }))?.tokenizer(),
    /must have at most 256 characters; token 1 has 257/,
  )
})

test('what cannot be is refused', async () => {
  const refuses = async (changes: Record<string, Value | null>, message: RegExp) =>
    assert.rejects(async () => ggufTokenizer(await open(changes))?.tokenizer(), {
      name: 'FormatError',
      message,
    })
  assert.equal(ggufTokenizer(await open({ 'tokenizer.ggml.model': null })), null)
  await refuses(
    { 'tokenizer.ggml.model': string('bert') },
    /"tokenizer.ggml.model" must be "gpt2" or "llama"; received "bert"/,
  )
  await refuses(
    { 'tokenizer.ggml.pre': string('other') },
    /"tokenizer.ggml.pre" must be one of default, gpt-2, .*; received "other"/,
  )
  await refuses(
    { 'tokenizer.ggml.merges': strings('a b', 'a b c') },
    /must be pairs with a space between; number 1 is "a b c"/,
  )
  await refuses(
    { 'tokenizer.ggml.tokens': strings('a', 'b', 'a', 'c', 'd', 'e') },
    /must differ from each other; "a" is token 0 and 2/,
  )
  await refuses(
    { 'tokenizer.ggml.token_type': list(4, 1, u32(1)) },
    /token_type" must have as many elements as there are tokens \(6\)/,
  )
})

test('merges of strangers are refused each time, and a tokenizer is made in steps', async () => {
  const lazy = async (changes: Record<string, Value>) => {
    const made = ggufTokenizer(await open(changes))
    assert.ok(made)
    return Tokenizer.lazy(made.parts, made.config, made.vocabularySize, 'x')
  }
  for (const merge of ['a c', 'c a', 'b a']) {
    const strange = await lazy({ 'tokenizer.ggml.merges': strings('a b', merge) })
    const message = /must make tokens of the vocabulary of two others; .* in number 1, .*, is none/
    for (let time = 0; time < 2; time++) assert.throws(() => strange.encode('ab'), { message })
  }
  const split = await lazy({ 'tokenizer.ggml.merges': strings('a b', 'ab') })
  assert.throws(() => split.prepare(), { message: /must be pairs with a space between; number 1 is "ab"/ })
  const sound = await lazy({})
  let steps = 1
  while (sound.prepareStep()) steps++
  assert.equal(steps, 4)
  assert.equal(sound.prepareStep(), false)
  assert.deepEqual(sound.encode('ab'), [2])
})

test('a special token that is none is ignored, and named', async () => {
  const warnings: string[] = []
  const parts = ggufTokenizer(
    await open({ 'tokenizer.ggml.eos_token_id': uint32(6) }),
    (message) => void warnings.push(message),
  )
  assert.equal(parts?.config.eos_token, undefined)
  assert.equal(warnings.length, 1)
  assert.match(
    warnings[0],
    /"tokenizer.ggml.eos_token_id" must be below the vocabulary's size \(6\); received 6 .*; it is ignored/,
  )
})
