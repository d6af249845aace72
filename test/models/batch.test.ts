import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../../src/devices/open.ts'
import { Batch } from '../../src/models/batch/batch.ts'
import { generateBatch } from '../../src/models/batch/generateBatch.ts'
import { generate } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { promptTokens, Sequence, type SequenceOptions } from '../../src/models/sequence.ts'
import { deviceNames } from '../deviceNames.ts'

/*
 * Sequences that run together are those that run alone: what a row computes does not depend on who else is
 * there, but for the order of sums.
 */

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))
const device = openDevice(deviceNames[0], { threads: 1 })
const model = await loadCausalLM(stories, { device })
// Tables of positions stay with the model, as long as the longest text needed.
model.prepare(600)
after(async () => {
  model.dispose()
  await device.close()
})
/** Halves would round keys and values that differ in their last bits by more. */
const exact = { computeDtype: 'float32', kv: 'float32' } as const
const long = 'Once upon a time there was a little dog who loved to run in the park with his red ball. '
const prompts = ['Once upon a time', 'The', long.repeat(3), 'Lily and Tom', 'One day a big', 'A']

/** How far the likeliest token lies before the second, at each place. */
async function margins(prompt: string, count: number): Promise<{ tokenIds: number[]; margins: number[] }> {
  const { tokenIds, logprobs = [] } = await generate(model, prompt, {
    maxNewTokens: count,
    topLogprobs: 2,
    ...exact,
  })
  return { tokenIds, margins: logprobs.map(({ topLogprobs: [a, b] = [] }) => a.logprob - b.logprob) }
}

/** Asserts that tokens are those of a run alone, up to a choice that rounding decides. */
function assertSame(got: readonly number[], alone: { tokenIds: number[]; margins: number[] }): void {
  const differs = alone.tokenIds.findIndex((id, i) => id !== got[i])
  // Sums of float32 in another order move logits of about 20 by some 2⁻²⁴ · 20 · √64 each.
  if (differs >= 0) assert.ok(alone.margins[differs] < 1e-4, `token ${differs} of ${got}`)
  else assert.equal(got.length, alone.tokenIds.length)
}

for (const batchSize of [1, 3, 6, 16]) {
  test(`prompts in batches of ${batchSize} are continued as each alone`, async () => {
    const before = device.allocatedBytes
    const maxNewTokens = 40
    const got = await generateBatch(model, prompts, { maxNewTokens, batchSize, ...exact })
    for (const [i, { tokenIds, text, promptTokens: count }] of got.entries()) {
      assertSame(tokenIds, await margins(prompts[i], maxNewTokens))
      assert.equal(text, model.tokenizer?.decode(tokenIds))
      assert.equal(count, model.tokenizer?.encode(prompts[i]).length)
    }
    assert.equal(device.allocatedBytes, before)
  })
}

test('drawn tokens, stops and log-probabilities are those of each alone', async () => {
  const options = {
    maxNewTokens: 25,
    temperature: 0.8,
    topK: 20,
    seed: 5,
    stopStrings: ' the',
    logprobs: true,
  }
  const got = await generateBatch(model, prompts, options)
  for (const [i, { text, finishReason, logprobs }] of got.entries()) {
    const alone = await generate(model, prompts[i], options)
    assert.deepEqual([text, finishReason], [alone.text, alone.finishReason])
    for (const [j, { logprob }] of (logprobs ?? []).entries())
      assert.ok(Math.abs(logprob - (alone.logprobs?.[j].logprob ?? NaN)) < 1e-3)
  }
})

test('sequences come and go between steps, and rows are taken again', async () => {
  const before = device.allocatedBytes
  const batch = new Batch(model, { size: 4, capacity: 400, ...exact })
  const run: { sequence: Sequence; prompt: string; tokens: number[]; ended: boolean }[] = []
  const add = (prompt: string, options: SequenceOptions) => {
    const sequence = new Sequence(model, promptTokens(model, prompt, {}), options)
    const entry = { sequence, prompt, tokens: [] as number[], ended: false }
    batch.add(sequence, {
      onToken: ({ tokenId }) => void entry.tokens.push(tokenId),
      onEnd(error) {
        assert.equal(error, undefined)
        entry.ended = true
      },
    })
    run.push(entry)
  }
  const lengths = [5, 60, 9, 30, 1, 44, 17, 23, 3, 50, 12]
  for (const [i, maxNewTokens] of lengths.entries()) {
    add(prompts[i % prompts.length], { maxNewTokens, stopAtEos: false })
    for (let step = 0; step < 1 + ((i * 5) % 7); step++) await batch.step()
    // The others go on where they are.
    if (i % 4 === 3) batch.remove(run[i - 2].sequence)
  }
  while (batch.count > 0) await batch.step()
  for (const [i, { prompt, tokens, ended }] of run.entries()) {
    const alone = await margins(prompt, lengths[i])
    const left = [1, 5].includes(i)
    assert.equal(ended, !left || tokens.length === lengths[i])
    assertSame(tokens, { ...alone, tokenIds: alone.tokenIds.slice(0, left ? tokens.length : undefined) })
  }
  batch.dispose()
  assert.equal(device.allocatedBytes, before)
})

test('a sequence that cannot go on ends with its error; the others go on', async () => {
  using batch = new Batch(model, { size: 2, capacity: 513 })
  const ends: string[] = []
  // After 511 new tokens behind the first, each of the 512 was there.
  for (const noRepeatNgramSize of [1, 0]) {
    const options = { maxNewTokens: 512, stopAtEos: false, noRepeatNgramSize }
    const listener = { onToken() {}, onEnd: (error?: unknown) => void ends.push(String(error)) }
    batch.add(new Sequence(model, [1], options), listener)
  }
  while (batch.count > 0) await batch.step()
  assert.equal(ends.length, 2)
  assert.ok(ends.some((end) => /noRepeatNgramSize must leave a token/.test(end)))
  assert.ok(ends.includes('undefined'))
})

test('a prompt that cannot be read ends with its error; the others go on', async () => {
  const before = device.allocatedBytes
  const batch = new Batch(model, { size: 2, capacity: 40 })
  const ends: string[] = []
  for (const id of [5000, 1]) {
    const listener = { onToken() {}, onEnd: (error?: unknown) => void ends.push(String(error)) }
    batch.add(new Sequence(model, [id], { maxNewTokens: 3, stopAtEos: false }), listener)
  }
  while (batch.count > 0) await batch.step()
  assert.match(ends[0], /^ShapeError: .*5000/)
  assert.deepEqual(ends.slice(1), ['undefined'])
  batch.dispose()
  assert.equal(device.allocatedBytes, before)
})

test('an abort ends all, and the model is as before', async () => {
  const before = device.allocatedBytes
  const abort = new AbortController()
  const onToken = () => abort.abort(new Error('enough'))
  await assert.rejects(generateBatch(model, prompts, { signal: abort.signal, onToken }), /enough/)
  assert.equal(device.allocatedBytes, before)
  assert.deepEqual(await generateBatch(model, []), [])
  await assert.rejects(generateBatch(model, ['a', []]), /at least one token/)
})
