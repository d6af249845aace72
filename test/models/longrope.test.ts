import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../../src/devices/open.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { parseLlamaConfig } from '../../src/models/families/llama.ts'
import { generate } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'

/**
 * A small Llama with LongRoPE, and the logits of a last token as transformers computes them; made by
 * scripts/make-language-fixtures.py.
 */
const folder = fileURLToPath(new URL('../golden/longrope', import.meta.url))
const expected: { ids: number[]; logits: number[] }[] = JSON.parse(
  readFileSync(`${folder}/expected.json`, 'utf8'),
)
const config = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'))

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

test('logits are those of transformers, for short texts and long ones in any order', async () => {
  using model = await loadCausalLM(folder, { device })
  for (const { ids, logits } of [...expected, ...expected.toReversed()]) {
    const got = await model.forward(ids, { lastOnly: true }).toNumbers()
    const largest = Math.max(...logits.map(Math.abs))
    // Sums of 48 float32 products in two layers.
    for (const [i, value] of logits.entries())
      assert.ok(Math.abs(got[i] - value) < 1e-5 * largest, `${ids.length} tokens, logit ${i}`)
  }
})

test('keys in a cache are turned by what it can hold, so that generation goes on as a whole text does', async () => {
  using model = await loadCausalLM(folder, { device })
  // 10 tokens and 20 more: beyond the 16 of the short factors.
  const prompt = expected[3].ids.slice(0, 10)
  const { tokenIds } = await generate(model, prompt, { maxNewTokens: 20, stopAtEos: false })
  for (let count = 7; count < 20; count++) {
    const logits = await model
      .forward([...prompt, ...tokenIds.slice(0, count)], { lastOnly: true })
      .toNumbers()
    assert.equal(tokenIds[count], logits.indexOf(Math.max(...logits)), `token ${count}`)
  }
})

test('config.json: defaults as transformers has them, and lists that do not fit', () => {
  const parse = (changes: object, more: object = {}) =>
    parseLlamaConfig(
      new JsonObject(
        { ...config, ...more, rope_parameters: { ...config.rope_parameters, ...changes } },
        'config.json',
      ),
    ).rope.scaling
  const { short_factor: shortFactors, long_factor: longFactors } = config.rope_parameters
  const longrope = { type: 'longrope', shortFactors, longFactors, originalMaxPositions: 16 }
  // 64 positions for 16: √(1 + ln 4 / ln 16) = √1.5.
  assert.deepEqual(parse({}), { ...longrope, attentionFactor: Math.sqrt(1.5) })
  assert.deepEqual(parse({ factor: 0.5 }), { ...longrope, attentionFactor: 1 })
  assert.deepEqual(parse({ factor: 256 }), { ...longrope, attentionFactor: Math.sqrt(3) })
  assert.deepEqual(parse({ attention_factor: 1.25 }), { ...longrope, attentionFactor: 1.25 })
  // Phi-3's place for it, which wins.
  assert.deepEqual(parse({ factor: 1 }, { original_max_position_embeddings: 32 }), {
    ...longrope,
    originalMaxPositions: 32,
    attentionFactor: 1,
  })
  const refuses = (changes: object, message: string) =>
    assert.throws(() => parse(changes), { name: 'FormatError', message })
  const rule = 'config.json: rope_parameters.long_factor must'
  refuses(
    { long_factor: [1, 2] },
    `${rule} have 8 numbers, one for every pair of a head; it has 2; received [1,2]`,
  )
  refuses(
    { long_factor: [1, 2, 3, 4, 5, 6, 7, 0] },
    `${rule} be a list of numbers above 0; received [1,2,3,4,5,6,7,0]`,
  )
  refuses({ long_factor: null }, `${rule} be a list of numbers above 0; received null`)
})
