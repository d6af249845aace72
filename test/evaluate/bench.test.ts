import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../../src/devices/open.ts'
import { bench } from '../../src/evaluate/bench.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { memoryFootprint } from '../../src/quantize/quantize.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())
const model = await loadCausalLM(fileURLToPath(new URL('../../models/stories260K', import.meta.url)), {
  device,
})
const { layers, keyValueHeads, headSize } = model.config

test('figures follow from each other, and sizes from the model', async () => {
  const result = await bench(model, { promptTokens: 9, newTokens: 5, runs: 2 })
  assert.deepEqual([result.promptTokens, result.newTokens, result.threads], [9, 5, 1])
  assert.deepEqual([result.computeDtype, result.kv], ['float32', 'float16'])
  assert.equal(result.prefillTokensPerSecond, 9000 / result.firstTokenMs)
  assert.equal(result.decodeTokensPerSecond, 1000 / result.msPerToken)
  assert.ok(result.firstTokenMs > 0 && result.msPerToken > 0)
  // Keys and values of nine and four tokens: of the last one there are none.
  assert.equal(result.cacheBytes, 13 * 2 * layers * keyValueHeads * headSize * 2)
})

test('a batch: tokens of all sequences count, and what it needs grows with it', async () => {
  const [one, four] = [
    await bench(model, { promptTokens: 40, newTokens: 5, runs: 2 }),
    await bench(model, { batchSize: 4, promptTokens: 40, newTokens: 5, runs: 2 }),
  ]
  assert.equal(four.batchSize, 4)
  assert.equal(four.prefillTokensPerSecond, (1000 * 4 * 40) / four.firstTokenMs)
  assert.equal(four.decodeTokensPerSecond, (1000 * 4) / four.msPerToken)
  assert.equal(four.cacheBytes, 4 * one.cacheBytes)
  assert.equal(one.weightBytes, memoryFootprint(model))
  const { vocabularySize } = model.config
  for (const [result, batch] of [
    [one, 1],
    [four, 4],
  ] as const) {
    // Beside the weights, the logits of all tokens; keys and values.
    assert.ok(result.forwardPeakBytes > result.weightBytes + 4 * batch * 40 * vocabularySize)
    assert.ok(result.generatePeakBytes > result.weightBytes + result.cacheBytes)
    assert.ok(result.forwardMs > 0)
  }
  assert.ok(four.forwardPeakBytes > one.forwardPeakBytes && four.generatePeakBytes > one.generatePeakBytes)
})

test('measuring leaves nothing behind', async () => {
  const options = { batchSize: 2, promptTokens: 40, newTokens: 3, runs: 1 }
  await bench(model, options)
  const before = device.allocatedBytes
  await bench(model, options)
  assert.equal(device.allocatedBytes, before)
})

test('lengths end where the model does', async () => {
  const most = model.config.maxPositions
  const { promptTokens, newTokens } = await bench(model, { promptTokens: 10_000, newTokens: 2, runs: 1 })
  assert.deepEqual([promptTokens, newTokens], [most - 2, 2])
  const signal = AbortSignal.abort(new Error('stopped'))
  await assert.rejects(bench(model, { promptTokens: 8, newTokens: 2, signal }), { message: 'stopped' })
})
