import { aSignal, check, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { aCacheType, type CacheType } from '../models/caches/index.ts'
import { aCausalLM, type CausalLM } from '../models/causalLM.ts'
import { computation } from '../models/generate.ts'
import { computedIn, computeIn } from '../nn/computeDtype.ts'
import { aComputeDType, type ComputeDType } from '../qtensor/computeDtype.ts'
import { memoryFootprint } from '../quantize/quantize.ts'
import { Tensor } from '../tensor/tensor.ts'
import { benchPrompt, type GenerationSettings, timeGeneration } from './generationRun.ts'
import { median } from './median.ts'

/** How long `bench` measures. */
export interface BenchOptions {
  /** Sequences of a batch, all of one length; default 1. */
  batchSize?: number
  /** Tokens of the prompt; default 512, at most what the model's context leaves. */
  promptTokens?: number
  /** Tokens to generate; default 64. */
  newTokens?: number
  /** Runs, of which the median counts; default 3. */
  runs?: number
  /** As of `generate`, whose steps are measured. */
  computeDtype?: ComputeDType
  /** As of `generate`. */
  kv?: CacheType
  signal?: AbortSignal
}

const optionKinds: OptionKinds<BenchOptions> = {
  batchSize: wholeNumber(1),
  promptTokens: wholeNumber(1),
  newTokens: wholeNumber(1),
  runs: wholeNumber(1),
  computeDtype: aComputeDType,
  kv: aCacheType,
  signal: aSignal,
}

/** What `bench` measured. */
export interface BenchResult {
  batchSize: number
  promptTokens: number
  newTokens: number
  /** Tokens of all prompts, by the time until each sequence has its first new token. */
  prefillTokensPerSecond: number
  /** New tokens of all sequences after the first. */
  decodeTokensPerSecond: number
  /** Until all sequences have their first token. */
  firstTokenMs: number
  /** Of a step after the first token, which gives each sequence one. */
  msPerToken: number
  /** Of one `forward` of the prompts without a cache, with the logits of all their tokens. */
  forwardMs: number
  /** The weights' bytes, and the most that the device held during `forward` and while tokens were generated. */
  weightBytes: number
  forwardPeakBytes: number
  generatePeakBytes: number
  threads: number
  device: string
  /** What was computed in, as `generate` says it. */
  computeDtype: ComputeDType
  /** What keys and values were kept as, and the bytes that those of all tokens took. */
  kv: CacheType
  cacheBytes: number
}

/**
 * How fast `generate` reads a prompt and writes, greedily and without stopping at end-of-text, or
 * `generateBatch` several; how long `forward` takes; and what memory both need.
 */
export async function bench(model: CausalLM, options: BenchOptions = {}): Promise<BenchResult> {
  check('bench', 'model', model, aCausalLM)
  checkOptions('bench', options, optionKinds)
  const { maxPositions } = model.config
  const { batchSize = 1, computeDtype, kv = 'float16', signal, runs = 3 } = options
  const newTokens = Math.min(options.newTokens ?? 64, maxPositions - 1)
  const promptTokens = Math.min(options.promptTokens ?? 512, maxPositions - newTokens)
  const settings = { batchSize, promptTokens, newTokens, kv, computeDtype, signal }
  const { device } = model
  const forward = await peakOf(model, runs, () => timeForward(model, settings))
  const generation = await peakOf(model, runs, () => timeGeneration(model, settings))
  using cache = model.createCache(promptTokens + newTokens - 1, { kv, batch: batchSize })
  const firstTokenMs = median(generation.results.map((times) => times.firstTokenMs))
  const msPerToken = median(generation.results.map(({ stepMs }) => stepMs))
  return {
    batchSize,
    promptTokens,
    newTokens,
    prefillTokensPerSecond: (1000 * batchSize * promptTokens) / firstTokenMs,
    decodeTokensPerSecond: (1000 * batchSize) / msPerToken,
    firstTokenMs,
    msPerToken,
    forwardMs: median(forward.results),
    weightBytes: memoryFootprint(model),
    forwardPeakBytes: forward.peakBytes,
    generatePeakBytes: generation.peakBytes,
    threads: device.threads,
    device: device.name,
    computeDtype: computedIn(model, computation(options)),
    kv,
    cacheBytes: cache.bytes,
  }
}

/** What some runs give, and the most that the device held meanwhile. */
async function peakOf<T>({ device }: CausalLM, runs: number, run: () => Promise<T>) {
  device.peakBytes = device.allocatedBytes
  const results: T[] = []
  for (let i = 0; i < runs; i++) results.push(await run())
  return { results, peakBytes: device.peakBytes }
}

/** Milliseconds of one forward pass of the prompts. */
async function timeForward(model: CausalLM, settings: GenerationSettings): Promise<number> {
  const { batchSize, promptTokens, signal } = settings
  signal?.throwIfAborted()
  const { device } = model
  const prompts = Array.from({ length: batchSize }, (_, row) => benchPrompt(model, promptTokens, row))
  using ids = Tensor.fromArray(device, Int32Array.from(prompts.flat()), [batchSize, promptTokens], 'int32')
  await device.sync()
  const started = performance.now()
  using _ = computeIn(model, computation(settings))(() => model.forward(ids))
  await device.sync()
  return performance.now() - started
}
