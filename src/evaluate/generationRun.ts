import { BatchStep } from '../models/batch/batchStep.ts'
import type { CacheType } from '../models/caches/index.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { computation, generateTokens } from '../models/generate.ts'
import { readPrompt } from '../models/prefill.ts'
import { computeIn } from '../nn/computeDtype.ts'
import type { ComputeDType } from '../qtensor/computeDtype.ts'

/** What is generated, greedily and without stopping at end-of-text, while the time is taken. */
export interface GenerationSettings {
  batchSize: number
  promptTokens: number
  newTokens: number
  kv: CacheType
  computeDtype?: ComputeDType
  signal?: AbortSignal
}

/** Milliseconds until all sequences have their first token, and of each step after that. */
export interface GenerationTimes {
  firstTokenMs: number
  stepMs: number
}

/** The prompt of a sequence: token ids that are spread over the vocabulary. */
export function benchPrompt(model: CausalLM, tokens: number, row = 0): number[] {
  const { vocabularySize } = model.config
  return Array.from({ length: tokens }, (_, i) => ((i + row) * 7919 + 13) % vocabularySize)
}

/** Times one generation: as `generate` runs one sequence, as `generateBatch` runs several. */
export async function timeGeneration(
  model: CausalLM,
  settings: GenerationSettings,
): Promise<GenerationTimes> {
  const started = performance.now()
  const ends = settings.batchSize === 1 ? oneSequence(model, settings) : severalSequences(model, settings)
  let firstTokenMs = 0
  for await (const _ of ends) firstTokenMs ||= performance.now() - started
  const restMs = performance.now() - started - firstTokenMs
  return { firstTokenMs, stepMs: restMs / Math.max(settings.newTokens - 1, 1) }
}

function oneSequence(model: CausalLM, settings: GenerationSettings): AsyncGenerator<unknown> {
  const { promptTokens, newTokens, kv, computeDtype, signal } = settings
  const options = { maxNewTokens: newTokens, stopAtEos: false, computeDtype, kv, signal }
  return generateTokens(model, benchPrompt(model, promptTokens), options)
}

/** Yields when each sequence has one more token. */
async function* severalSequences(model: CausalLM, settings: GenerationSettings): AsyncGenerator<void> {
  const { batchSize, promptTokens, newTokens, kv, signal } = settings
  const compute = computeIn(model, computation(settings))
  using cache = model.createCache(promptTokens + newTokens - 1, { kv, batch: batchSize })
  for (let row = 0; row < batchSize; row++) {
    using own = cache.sequence(row)
    using logits = await readPrompt(model, benchPrompt(model, promptTokens, row), own, compute, signal)
    await logits.read()
  }
  yield
  using step = compute(() => new BatchStep(model, cache.sequences(0, batchSize)))
  let tokens = Array.from({ length: batchSize }, (_, row) => row)
  for (let made = 1; made < newTokens; made++) {
    signal?.throwIfAborted()
    step.run(tokens)
    tokens = (await step.readLikeliest()).map(({ id }) => id)
    yield
  }
}
