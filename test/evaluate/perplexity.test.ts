import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { type CausalLM, loadCausalLM } from '../../src/index.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'

/*
 * Which tokens are scored, and what becomes of their scores: worked out here, in float64, from the logits of
 * single windows.
 */

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())
const place = fileURLToPath(new URL('../../models/stories260K', import.meta.url))
const model = await loadCausalLM(place, { device })
const rounded = await loadCausalLM(place, { device })
quantize(rounded, { weights: 'int4' })
freeze(rounded)
const ids = Array.from({ length: 23 }, (_, i) => (i * 37 + 11) % model.config.vocabularySize)

/** Log-probabilities of every token after each of these. */
async function logProbabilities(of: CausalLM, window: readonly number[]): Promise<Float64Array[]> {
  using logits = of.forward(window)
  const values = await logits.toNumbers()
  const size = of.config.vocabularySize
  return window.map((_, t) => {
    const row = Float64Array.from(values.slice(t * size, (t + 1) * size))
    const most = Math.max(...row)
    const log = most + Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0))
    return row.map((value) => value - log)
  })
}

const close = (received: number | undefined, wanted: number, what: string) =>
  assert.ok(
    Math.abs(Number(received) - wanted) <= 1e-5 * Math.max(1, wanted),
    `${what}: ${received}, ${wanted}`,
  )

for (const [label, stride, windows, definition] of [
  [
    'windows side by side, an incomplete last one dropped',
    8,
    [
      [0, 1],
      [8, 1],
    ],
  ],
  [
    'windows that overlap score what none before has scored',
    5,
    [
      [0, 1],
      [5, 3],
      [10, 3],
      [15, 3],
    ],
  ],
  [
    'an incomplete last window counts as transformers has it',
    8,
    [
      [0, 1],
      [8, 1],
      [16, 1],
    ],
    'transformers',
  ],
  [
    'windows that overlap as transformers has them, the last one at the end of the text',
    6,
    [
      [0, 1],
      [6, 2],
      [12, 2],
      [18, 2],
    ],
    'transformers',
  ],
  [
    'the second half of windows that begin as a text does, as llama.cpp has it',
    8,
    [
      [0, 5],
      [8, 5],
    ],
    'llama.cpp',
  ],
] as const)
  test(label, async () => {
    const context = 8
    let [nll, squares, agreed] = [0, 0, 0]
    const divergences: number[] = []
    for (const [start, first] of windows) {
      const window = ids.slice(start, start + context)
      if (definition === 'llama.cpp') window[0] = 1
      const [q, p] = [await logProbabilities(rounded, window), await logProbabilities(model, window)]
      for (let t = first; t < window.length; t++) {
        nll -= q[t - 1][window[t]]
        squares += q[t - 1][window[t]] ** 2
        divergences.push(p[t - 1].reduce((sum, log, i) => sum + Math.exp(log) * (log - q[t - 1][i]), 0))
        if (p[t - 1].indexOf(Math.max(...p[t - 1])) === q[t - 1].indexOf(Math.max(...q[t - 1]))) agreed++
      }
    }
    const tokens = divergences.length
    const seen: [number, number][] = []
    const onProgress = (done: number, total: number) => void seen.push([done, total])
    const measured = await perplexity(rounded, ids, {
      ...{ context, stride, definition, baseline: model, onProgress },
    })
    assert.equal(measured.tokens, tokens)
    close(measured.nll, nll / tokens, 'nll')
    const variance = (squares - nll ** 2 / tokens) / (tokens - 1)
    close(measured.nllError, Math.sqrt(variance / tokens), 'standard error')
    close(measured.perplexity, Math.exp(nll / tokens), 'perplexity')
    const kl = divergences.reduce((sum, value) => sum + value) / tokens
    close(measured.klDivergence, kl, 'divergence')
    const spread = divergences.reduce((sum, value) => sum + (value - kl) ** 2, 0) / (tokens - 1)
    close(measured.klDivergenceError, Math.sqrt(spread / tokens), "the divergence's error")
    const share = agreed / tokens
    close(measured.top1Agreement, share, 'agreement')
    close(
      measured.top1AgreementError,
      Math.sqrt((share * (1 - share)) / (tokens - 1)),
      "the agreement's error",
    )
    assert.ok(agreed < tokens && agreed > 0, 'the models agree on some tokens, and not on all')
    assert.deepEqual(seen.at(-1), [windows.length, windows.length])
  })

test('a model lies at no distance from itself, and says what it computed in', async () => {
  const self = await perplexity(model, ids, { context: 12, baseline: model })
  assert.deepEqual([self.klDivergence, self.top1Agreement, self.computeDtype], [0, 1, 'float32'])
  const int8 = await perplexity(rounded, ids, { context: 12, computeDtype: 'int8' })
  assert.equal(int8.computeDtype, 'int8')
  assert.equal('klDivergence' in int8, false)
  const exact = await perplexity(rounded, ids, { context: 12 })
  assert.notEqual(int8.nll, exact.nll)
})

test('a text is encoded without tokens at its ends', async () => {
  const text = 'Once upon a time there was a little girl.'
  const encoded = model.tokenizer?.encode(text, { addSpecialTokens: false }) ?? []
  assert.ok(encoded.length > 8)
  const [asText, asIds] = [
    await perplexity(model, text, { context: 8 }),
    await perplexity(model, encoded, { context: 8 }),
  ]
  assert.deepEqual(asText, asIds)
})

test('windows that cannot be, and an abort, are said before anything is computed', async () => {
  const rejects = (options: Parameters<typeof perplexity>[2], message: RegExp) =>
    assert.rejects(perplexity(model, ids, options), { name: 'ShapeError', message })
  await rejects({ context: 24 }, /the text must have at least 24 tokens, one window; it has 23/)
  await rejects({ context: 100_000 }, /context must be a whole number in 2\.\.512/)
  await rejects({ context: 8, stride: 9 }, /stride must be a whole number in 1\.\.8, the context; received 9/)
  const signal = AbortSignal.abort(new Error('stopped'))
  await assert.rejects(perplexity(model, ids, { context: 8, signal }), { message: 'stopped' })
})
