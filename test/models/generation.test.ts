import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../../src/devices/open.ts'
import { generate, generateTokens, stream } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import type { GeneratedToken } from '../../src/models/sequence.ts'

/*
 * What transformers' words ask of `generate`: where a text ends, what comes with its tokens, and how it is
 * stopped. How tokens are chosen is tested in sampling.test.ts.
 */

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))
const device = openDevice('cpu', { threads: 1 })
const model = await loadCausalLM(stories, { device })
after(async () => {
  model.dispose()
  await device.close()
})
const prompt = 'Once upon a time'
const { tokenizer } = model
if (!tokenizer) throw new Error('stories260K has a tokenizer')

async function tokensOf(...args: Parameters<typeof stream>): Promise<GeneratedToken[]> {
  const tokens: GeneratedToken[] = []
  for await (const token of stream(...args)) tokens.push(token)
  return tokens
}

test('a stream yields each token once, and its pieces are the text', async () => {
  for (const options of [{}, { temperature: 2, seed: 4 }, { stopStrings: [' the', 'zz'] }]) {
    const whole = await generate(model, prompt, { ...options, maxNewTokens: 60 })
    const tokens = await tokensOf(model, prompt, { ...options, maxNewTokens: 60 })
    assert.deepEqual(
      tokens.map(({ tokenId }) => tokenId),
      whole.tokenIds,
    )
    assert.equal(tokens.map(({ text }) => text).join(''), whole.text)
  }
})

test('a text ends before the first stop string, wherever tokens end', async () => {
  const { text, tokenIds } = await generate(model, prompt, { maxNewTokens: 80 })
  for (const stop of [text.slice(7, 8), text.slice(20, 32), text.slice(31, 34)]) {
    const cut = await generate(model, prompt, { maxNewTokens: 80, stopStrings: ['never said', stop] })
    assert.equal(cut.text, text.slice(0, text.indexOf(stop)))
    assert.equal(cut.finishReason, 'stop')
    assert.deepEqual(cut.tokenIds, tokenIds.slice(0, cut.tokenIds.length))
    // It ends with the token that completes the string.
    assert.ok(tokenizer.decode(cut.tokenIds).includes(stop))
    assert.ok(!tokenizer.decode(cut.tokenIds.slice(0, -1)).includes(stop))
  }
})

test('what only begins a stop string is told when the text ends', async () => {
  const { text } = await generate(model, prompt, { maxNewTokens: 12 })
  const stopStrings = `${text.slice(-3)}§`
  const whole = await generate(model, prompt, { maxNewTokens: 12, stopStrings })
  assert.deepEqual([whole.text, whole.finishReason], [text, 'length'])
})

test('a stop token is the last', async () => {
  const { tokenIds } = await generate(model, prompt, { maxNewTokens: 30 })
  const last = tokenIds.findIndex((id, i) => i > 4 && !tokenIds.slice(0, i).includes(id))
  const stopped = await generate(model, prompt, { maxNewTokens: 30, stopTokenIds: [tokenIds[last]] })
  assert.deepEqual(stopped.tokenIds, tokenIds.slice(0, last + 1))
  assert.equal(stopped.finishReason, 'stop')
})

test('log-probabilities are those of the logits that forward gives', async () => {
  const { tokenIds, logprobs } = await generate(model, prompt, {
    maxNewTokens: 5,
    temperature: 1,
    seed: 2,
    repetitionPenalty: 1.5,
    logprobs: true,
    topLogprobs: 4,
    kv: 'float32',
  })
  const ids = tokenizer.encode(prompt)
  const logits = model.forward([...ids, ...tokenIds])
  const values = (await logits.read()) as Float32Array
  logits.dispose()
  const V = model.config.vocabularySize
  assert.equal(logprobs?.length, 5)
  for (const [i, { tokenId, logprob, topLogprobs }] of (logprobs ?? []).entries()) {
    assert.equal(tokenId, tokenIds[i])
    const row = [...values.subarray((ids.length + i - 1) * V, (ids.length + i) * V)]
    const sum = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0))
    // Attention adds in another order with a cache: a few units in the last place of logits of about 20.
    assert.ok(Math.abs(logprob - (row[tokenId] - sum)) < 1e-4)
    const order = row.map((_, id) => id).sort((a, b) => row[b] - row[a])
    assert.deepEqual(
      topLogprobs?.map(({ tokenId }) => tokenId),
      order.slice(0, 4),
    )
  }
})

test('no run of tokens comes twice where that is asked', async () => {
  const runs = (ids: readonly number[]) => ids.slice(2).map((id, i) => `${ids[i]} ${ids[i + 1]} ${id}`)
  const ids = tokenizer.encode(prompt)
  const free = await generate(model, ids, { maxNewTokens: 150 })
  const blocked = await generate(model, ids, { maxNewTokens: 150, noRepeatNgramSize: 3 })
  const all = (tokenIds: number[]) => runs([...ids, ...tokenIds])
  assert.ok(new Set(all(free.tokenIds)).size < all(free.tokenIds).length)
  assert.equal(new Set(all(blocked.tokenIds)).size, all(blocked.tokenIds).length)
})

test('penalties of nothing change nothing', async () => {
  const plain = await generate(model, prompt, { maxNewTokens: 30 })
  const same = await generate(model, prompt, { maxNewTokens: 30, frequencyPenalty: 1e-30, logprobs: true })
  assert.deepEqual(same.tokenIds, plain.tokenIds)
})

test('a model is as before when a generation was aborted, or its loop left', async () => {
  const before = device.allocatedBytes
  const { tokenIds } = await generate(model, prompt, { maxNewTokens: 20 })
  for (const temperature of [0, 0.5]) {
    const abort = new AbortController()
    const onText = () => abort.abort(new Error('enough'))
    const aborted = generate(model, prompt, { temperature, signal: abort.signal, onText })
    await assert.rejects(aborted, /enough/)
    for await (const _ of stream(model, prompt, { temperature })) break
    assert.deepEqual((await generate(model, prompt, { maxNewTokens: 20 })).tokenIds, tokenIds)
  }
  assert.equal(device.allocatedBytes, before)
})

test('what cannot be is refused before anything is computed', async () => {
  const refused = (given: Parameters<typeof generate>[1], options: object, message: RegExp) =>
    assert.rejects(generate(model, given, options), message)
  await refused([], {}, /at least one token/)
  await refused(Array(513).fill(5), {}, /context of 512 tokens; received 513/)
  await refused('x', { stopStrings: '' }, /stopStrings must be a text or a list of texts, none empty/)
  await refused('x', { stopStrings: ['a', ''] }, /stopStrings/)
  await refused('x', { minP: 1.5 }, /minP must lie in 0..1/)
  await refused('x', { repetitionPenalty: 0 }, /repetitionPenalty must be a number above 0/)
  await refused('x', { noRepeatNgramSize: 1, stopAtEos: false, maxNewTokens: 600 }, /must leave a token/)
  // The prompt fills the context: one token fits.
  const full = await generate(model, Array(512).fill(5), { maxNewTokens: 9 })
  assert.deepEqual([full.tokenIds.length, full.finishReason], [1, 'length'])
  assert.deepEqual((await generate(model, 'x', { maxNewTokens: 0 })).tokenIds, [])
  const none = await generateTokens(model, [5], { maxNewTokens: 0 }).next()
  assert.equal(none.done, true)
})
