import { aSignal, check, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { aCacheType, type CacheType } from '../models/caches/index.ts'
import { aCausalLM, type CausalLM } from '../models/causalLM.ts'
import { computation, generateTokens } from '../models/generate.ts'
import { computedIn } from '../nn/computeDtype.ts'
import { aComputeDType, type ComputeDType } from '../qtensor/computeDtype.ts'

/** How long `bench` measures. */
export interface BenchOptions {
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
  promptTokens: wholeNumber(1),
  newTokens: wholeNumber(1),
  runs: wholeNumber(1),
  computeDtype: aComputeDType,
  kv: aCacheType,
  signal: aSignal,
}

/** What `bench` measured. */
export interface BenchResult {
  promptTokens: number
  newTokens: number
  prefillTokensPerSecond: number
  decodeTokensPerSecond: number
  firstTokenMs: number
  /** Per token after the first. */
  msPerToken: number
  threads: number
  device: string
  /** What was computed in, as `generate` says it. */
  computeDtype: ComputeDType
  /** What keys and values were kept as, and the bytes that those of all its tokens took. */
  kv: CacheType
  cacheBytes: number
}

/** How fast `generate` reads a prompt and writes, greedily and without stopping at end-of-text. */
export async function bench(model: CausalLM, options: BenchOptions = {}): Promise<BenchResult> {
  check('bench', 'model', model, aCausalLM)
  checkOptions('bench', options, optionKinds)
  const { maxPositions, vocabularySize } = model.config
  const { computeDtype, kv = 'float16', signal } = options
  const newTokens = Math.min(options.newTokens ?? 64, maxPositions - 1)
  const promptTokens = Math.min(options.promptTokens ?? 512, maxPositions - newTokens)
  const prompt = Array.from({ length: promptTokens }, (_, i) => (i * 7919 + 13) % vocabularySize)
  const first: number[] = []
  const each: number[] = []
  for (let run = 0; run < (options.runs ?? 3); run++) {
    const started = performance.now()
    let firstMs = 0
    for await (const _ of generateTokens(model, prompt, {
      maxNewTokens: newTokens,
      stopAtEos: false,
      computeDtype,
      kv,
      signal,
    })) {
      firstMs ||= performance.now() - started
    }
    first.push(firstMs)
    each.push((performance.now() - started - firstMs) / Math.max(newTokens - 1, 1))
  }
  using cache = model.createCache(promptTokens + newTokens - 1, { kv })
  const cacheBytes = cache.bytes
  const firstTokenMs = median(first)
  const msPerToken = median(each)
  return {
    promptTokens,
    newTokens,
    prefillTokensPerSecond: (1000 * promptTokens) / firstTokenMs,
    decodeTokensPerSecond: 1000 / msPerToken,
    firstTokenMs,
    msPerToken,
    threads: model.device.threads,
    device: model.device.name,
    computeDtype: computedIn(model, computation(options)),
    kv,
    cacheBytes,
  }
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
