import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import * as zlib from 'node:zlib'
import { calibrationData, Tokenizer } from '../../src/index.ts'

/* What a model is calibrated on: texts, wherever they lie, as samples of token ids. */

const folder = mkdtempSync(join(tmpdir(), 'lowbit-calibration-'))
after(() => rmSync(folder, { recursive: true }))
const write = (name: string, content: string | Uint8Array) => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
const jsonLines = (items: readonly object[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('')

const stories = readFileSync('models/tinystories.txt', 'utf8')
const tokenizer = await Tokenizer.fromJson(
  JSON.parse(readFileSync('models/stories260K/tokenizer.json', 'utf8')),
  { chat_template: '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}' },
)
const ids = tokenizer.encode(stories)

test('a text is cut into windows; of more than samples some are drawn, by the seed, in their order', async () => {
  const all = await calibrationData([stories], { tokenizer, length: 100, samples: 1000 })
  assert.deepEqual(all.flat(), ids.slice(0, all.length * 100))
  assert.equal(all.length, Math.floor(ids.length / 100))
  const few = (seed: number) => calibrationData([stories], { tokenizer, length: 100, samples: 5, seed })
  const drawn = await few(1)
  const places = drawn.map((sample) => all.findIndex((window) => window.join() === sample.join()))
  assert.deepEqual(
    places,
    [...new Set(places)].sort((a, b) => a - b),
  )
  assert.ok(places.every((place) => place >= 0))
  assert.deepEqual(await few(1), drawn)
  assert.notDeepEqual(await few(2), drawn)
})

const texts = Array.from({ length: 40 }, (_, i) => stories.slice(50 * i, 50 * i + 50))

test('several texts come in random order, each once, and packed without a gap', async () => {
  const encoded = texts.map((text) => tokenizer.encode(text))
  const packed = await calibrationData(texts, { tokenizer, length: 20, samples: 1000 })
  const stream = packed.flat()
  const order: number[] = []
  for (let at = 0; at < stream.length; ) {
    const found = encoded.findIndex((own, i) => {
      const part = own.slice(0, stream.length - at)
      return !order.includes(i) && part.every((id, j) => stream[at + j] === id)
    })
    assert.ok(found >= 0, `after ${order}`)
    order.push(found)
    at += encoded[found].length
  }
  assert.notDeepEqual(
    order,
    [...order].sort((a, b) => a - b),
  )
})

test('without packing each text is a sample, cut at the length', async () => {
  const samples = await calibrationData([...texts, ''], {
    tokenizer,
    packing: false,
    length: 12,
    samples: 100,
  })
  const key = (sample: readonly number[]) => sample.join()
  assert.deepEqual(
    samples.map(key).sort(),
    texts.map((text) => key(tokenizer.encode(text).slice(0, 12))).sort(),
  )
})

test('conversations go through the chat template; token ids are taken as they are', async () => {
  const messages = [
    { role: 'user', content: 'hello' },
    { role: 'assistant', content: 'good day' },
  ]
  const options = { tokenizer, packing: false }
  const expected = [await tokenizer.encodeChat(messages, { addGenerationPrompt: false })]
  assert.deepEqual(await calibrationData([messages], options), expected)
  assert.deepEqual(await calibrationData(write('chat.jsonl', jsonLines([{ messages }])), options), expected)
  assert.deepEqual(await calibrationData([[5, 6, 7]], { packing: false }), [[5, 6, 7]])
  assert.deepEqual(
    await calibrationData(write('ids.jsonl', jsonLines([{ input_ids: [5, 6] }])), { packing: false }),
    [[5, 6]],
  )
})

test('texts come from text, JSON lines, lists and parquet, packed or not', async () => {
  const options = { tokenizer, packing: false, samples: 1000, length: 1000 }
  const expected = await calibrationData(texts, options)
  const lines = jsonLines(texts.map((text) => ({ text })))
  const places = [
    write('texts.jsonl', lines),
    write('texts.jsonl.gz', zlib.gzipSync(lines)),
    write('texts.json', JSON.stringify(texts.map((text) => ({ text })))),
    // Node 20 has no zstd.
    ...(zlib.zstdCompressSync ? [write('texts.jsonl.zst', zlib.zstdCompressSync(lines))] : []),
  ]
  for (const place of places) assert.deepEqual(await calibrationData(place, options), expected, place)
  assert.deepEqual(await calibrationData(write('story.txt', stories), { ...options, length: 1e6 }), [ids])
  const parquet = await calibrationData('test/golden/parquet/text-gzip.parquet', options)
  assert.ok(parquet.length > 1 && parquet.every((sample) => sample.length > 1))
})

test('a folder that holds the file of a known set is that set', async () => {
  const path = join(folder, 'c4', 'en')
  mkdirSync(path, { recursive: true })
  writeFileSync(
    join(path, 'c4-train.00000-of-01024.json.gz'),
    zlib.gzipSync(jsonLines(texts.map((text) => ({ text, url: '' })))),
  )
  const options = { tokenizer, packing: false, samples: 1000 }
  assert.deepEqual(await calibrationData(join(folder, 'c4'), options), await calibrationData(texts, options))
})

test('a set that is not there is said in one sentence, and what to do', async () => {
  const { HF_HUB_OFFLINE, HF_HUB_CACHE } = process.env
  Object.assign(process.env, { HF_HUB_OFFLINE: '1', HF_HUB_CACHE: join(folder, 'hub') })
  try {
    for (const name of ['wikitext2', 'c4', 'pileval'])
      await assert.rejects(calibrationData(name, { tokenizer }), {
        name: 'FormatError',
        message: new RegExp(
          `^${name}: \\S+/\\S+: its \\S+ must be in the hub's cache, \\S+, or to be downloaded; it is not there, and HF_HUB_OFFLINE is 1; get the file, or take a text of your own, or a folder with [\\w.-]+$`,
        ),
      })
  } finally {
    for (const [name, value] of Object.entries({ HF_HUB_OFFLINE, HF_HUB_CACHE }))
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
  }
})

const refusals: [
  what: string,
  source: Parameters<typeof calibrationData>[0],
  options: object,
  message: RegExp,
][] = [
  ['no text', [], {}, /^calibrationData: there must be a text; received none$/],
  ['an empty file', write('empty.txt', ' \n'), {}, /empty\.txt: the text must have words; it is empty$/],
  ['an empty list', write('empty.jsonl', '\n'), {}, /empty\.jsonl: must hold items, .*; it is empty$/],
  [
    'no whole sample',
    ['hello'],
    { length: 50 },
    /^calibrationData: the text must have at least 50 tokens, one sample; it has \d: take more text, or shorter samples \(length\)$/,
  ],
  ['one token', [[5]], { packing: false }, /must have at least 2 tokens, one sample; it has 1$/],
  [
    'no UTF-8',
    write('latin.txt', Uint8Array.of(0x61, 0xe9, 0x20)),
    {},
    /latin\.txt: text must be valid UTF-8; it is not$/,
  ],
  [
    'no UTF-8 in lines',
    write('latin.jsonl', Uint8Array.of(0x7b, 0xe9, 0x7d)),
    {},
    /latin\.jsonl: must be JSON lines that can be read; its text is not UTF-8$|latin\.jsonl: text must be valid UTF-8/,
  ],
  [
    'no field',
    write('other.jsonl', jsonLines([{ title: 'x' }])),
    {},
    /other\.jsonl: line 1: text must be there, or messages, or input_ids; received nothing$/,
  ],
  [
    'no such file',
    join(folder, 'none.txt'),
    {},
    /none\.txt: must be a file that can be read; .*; wikitext2, c4 or pileval stand for the hub's$/,
  ],
  [
    'a broken archive',
    write('broken.jsonl.gz', Uint8Array.of(0x1f, 0x8b, 8, 0, 1)),
    {},
    /broken\.jsonl\.gz: must be JSON lines that can be read; /,
  ],
  [
    'a folder without a set',
    folder,
    {},
    /: a folder of calibration texts must hold train-00000-of-00001\.parquet, .* or val\.jsonl\.zst; it holds none/,
  ],
  [
    'no tokenizer',
    ['a text'],
    { tokenizer: null },
    /^calibrationData: texts must have a tokenizer, .*: pass token ids$/,
  ],
  [
    'samples of one token',
    ['a text'],
    { length: 1 },
    /length must be a whole number, 2 or more; received 1$/,
  ],
]
for (const [what, source, options, message] of refusals)
  test(`refused: ${what}`, async () => {
    await assert.rejects(calibrationData(source, { tokenizer, ...options }), { message })
  })
