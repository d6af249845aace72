import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Random } from '../../src/core/random.ts'
import { cutoff, kthLargest } from '../../src/models/cutoff.ts'
import { expMinus } from '../../src/models/expMinus.ts'
import { Logprobs } from '../../src/models/logprobs.ts'
import { type PenaltyOptions, TokenHistory } from '../../src/models/penalties.ts'
import {
  type Candidates,
  candidates,
  draw,
  likeliest,
  type SamplingOptions,
  sample,
} from '../../src/models/sampling.ts'

interface Case {
  options: Record<string, number>
  ids: number[]
  logits: number[]
  /** After transformers' processors; null is −∞. */
  scores: (number | null)[]
}
const path = new URL('../golden/sampling.json', import.meta.url)
const cases: Case[] = JSON.parse(readFileSync(path, 'utf8')).cases

/** `top_k` → `topK` */
const camelCase = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())

/** The probability of every token. */
function probabilities({ ids, weights, total }: Candidates, vocabulary: number): number[] {
  const all = Array<number>(vocabulary).fill(0)
  for (const [i, id] of ids.entries()) all[id] = weights[i] / total
  return all
}

function softmax(scores: readonly (number | null)[]): number[] {
  const weights = scores.map((score) => (score === null ? 0 : Math.exp(score)))
  const total = weights.reduce((sum, weight) => sum + weight)
  return weights.map((weight) => weight / total)
}

for (const { options, ids, logits, scores } of cases) {
  test(`transformers' processors: ${JSON.stringify(options)}`, () => {
    const ours = Object.fromEntries(
      Object.entries(options).map(([name, value]) => [camelCase(name), value]),
    ) as SamplingOptions & PenaltyOptions
    const changed = Float32Array.from(logits)
    new TokenHistory(ids).penalize(changed, ours)
    const got = probabilities(candidates(changed, ours), logits.length)
    const expected = softmax(scores)
    // float32 scores of up to 16 / temperature: a relative error of 2⁻²⁴ · 16 · 2 in the exponent.
    for (const [id, probability] of expected.entries())
      assert.ok(
        Math.abs(got[id] - probability) <= 4e-6 * probability,
        `token ${id}: ${got[id]}, ${probability}`,
      )
  })
}

test('frequency and presence penalties count the new tokens, not those of the prompt', () => {
  const history = new TokenHistory([0, 0, 1])
  for (const id of [2, 2, 3]) history.add(id)
  const logits = Float32Array.of(1, 1, 1, 1, 1)
  history.penalize(logits, { frequencyPenalty: 0.25, presencePenalty: 0.5 })
  // 1 − 2 · 0.25 − 0.5, and 1 − 0.25 − 0.5.
  assert.deepEqual([...logits], [1, 1, 0, 0.25, 1])
})

test('repetition is penalized before frequency and presence', () => {
  const history = new TokenHistory([0])
  history.add(1)
  const logits = Float32Array.of(2, 2, -2, 2)
  history.penalize(logits, { repetitionPenalty: 2, frequencyPenalty: 0.5 })
  assert.deepEqual([...logits], [1, 0.5, -2, 2])
})

test('of equally likely tokens top-p takes as many as it needs, top-k all', () => {
  const equal = new Float32Array(8)
  assert.deepEqual([...candidates(equal, { topP: 0.5 }).ids], [0, 1, 2, 3])
  // As transformers' TopKLogitsWarper, which removes what is less than the k-th.
  assert.equal(candidates(equal, { topK: 3 }).ids.length, 8)
})

test('no token may be left out by all rules', () => {
  const logits = new Float32Array(4).fill(-Infinity)
  assert.throws(() => candidates(logits, {}), /one logit at least must be above −∞/)
})

test('logits that are all −∞ are told as such', () => {
  const logits = new Float32Array(5).fill(-Infinity)
  assert.throws(() => likeliest(logits), {
    name: 'ShapeError',
    message: 'generate: one logit at least must be above −∞; received −∞ for all tokens',
  })
})

test('a cutoff is the value up to which sorted values reach an amount', () => {
  const random = new Random(3)
  for (let round = 0; round < 200; round++) {
    const size = 1 + (random.uint32() % 40)
    // Many are equal.
    const values = Float64Array.from({ length: size }, () => (random.uint32() % 12) / 4)
    const sorted = [...values].sort((a, b) => b - a)
    const count = 1 + (random.uint32() % size)
    assert.equal(cutoff(values.slice(), count, 'count'), sorted[count - 1])
    const limit = random.uniform() * sorted.reduce((sum, value) => sum + value, 0)
    let [sum, place] = [0, 0]
    while (place < size - 1 && sum + sorted[place] < limit) sum += sorted[place++]
    assert.equal(cutoff(values.slice(), limit, 'sum'), sorted[place], `${sorted} to ${limit}`)
  }
})

test('the k-th largest value is the k-th of the sorted ones, in whatever order they come', () => {
  const random = new Random(4)
  const orders: ((values: Float32Array) => Float32Array)[] = [
    (values) => values,
    (values) => values.sort(),
    (values) => values.sort().reverse(),
  ]
  for (let round = 0; round < 60; round++) {
    const size = 1 + (random.uint32() % 3000)
    const drawn = Float32Array.from({ length: size }, () => (random.uint32() % 500) / 4)
    const sorted = [...drawn].sort((a, b) => b - a)
    const k = 1 + (random.uint32() % size)
    assert.equal(kthLargest(orders[round % 3](drawn), k), sorted[k - 1], `${k} of ${size}`)
  }
  assert.equal(kthLargest(Float32Array.of(1, -Infinity, 2), 3), -Infinity)
})

test('the nucleus is that of sorted weights, of flat and of steep logits', () => {
  const random = new Random(5)
  for (const spread of [0, 0.01, 1, 10, 300])
    for (const topP of [1e-9, 0.1, 0.9, 1 - 1e-9]) {
      const logits = Float32Array.from({ length: 5000 }, () => spread * random.normal())
      const largest = Math.max(...logits)
      const weights = Array.from(logits, (logit) => Math.exp(logit - largest))
      const order = [...weights.keys()].sort((a, b) => weights[b] - weights[a] || a - b)
      const limit = topP * weights.reduce((sum, weight) => sum + weight)
      let [sum, count] = [0, 0]
      while (count < 5000 && (count === 0 || sum < limit)) sum += weights[order[count++]]
      const got = candidates(logits, { topP }).ids.length
      // The sums are rounded differently: where the limit is met exactly, one token more or less.
      assert.ok(Math.abs(got - count) <= 1, `spread ${spread}, top-p ${topP}: ${got} of ${count}`)
    }
})

test('e^−x is within 4 units in the last place', () => {
  for (let x = 0; x < 700; x += 0.0371) {
    const expected = Math.exp(-x)
    assert.ok(Math.abs(expMinus(x) - expected) <= 4 * Number.EPSILON * expected, `e^−${x}`)
  }
  assert.deepEqual([expMinus(0), expMinus(800), expMinus(Infinity)], [1, 0, 0])
})

test('tokens are drawn as often as they are probable', () => {
  const logits = Float32Array.from([2, 1, 0, -1, -3])
  const expected = softmax([...logits])
  const random = new Random(11)
  const drawn = Array<number>(5).fill(0)
  const count = 20000
  for (let i = 0; i < count; i++) drawn[sample(logits, { temperature: 1 }, random)]++
  // χ² with 4 degrees of freedom is above 23.5 once in 10,000 seeds.
  const distance = expected.reduce((sum, p, id) => sum + (drawn[id] - count * p) ** 2 / (count * p), 0)
  assert.ok(distance < 23.5, `χ² ${distance} of ${drawn}`)
})

test('of all tokens, and of a list of all, the same are drawn', () => {
  const logits = Float32Array.from({ length: 50 }, (_, id) => (id % 7 === 0 ? -Infinity : Math.sin(id)))
  const [one, other] = [new Random(5), new Random(5)]
  for (let i = 0; i < 500; i++)
    assert.equal(sample(logits, {}, one), draw(candidates(logits, {}), other), `draw ${i}`)
})

test('log-probabilities are ln softmax, the likeliest first', () => {
  // e^0 + e^0 + e^−∞ + e^ln 2 = 4.
  const logprobs = new Logprobs(Float32Array.of(0, 0, -Infinity, Math.LN2), 3)
  assert.deepEqual(
    logprobs.top.map(({ tokenId }) => tokenId),
    [3, 0, 1],
  )
  for (const [tokenId, probability] of [0.25, 0.25, 0, 0.5].entries())
    assert.ok(Math.abs(Math.exp(logprobs.of(tokenId)) - probability) < 1e-7)
})
