import type { Device } from '../devices/device.ts'
import type { SignalStop } from '../devices/stops.ts'
import type { Compute } from '../nn/computeDtype.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { KVCache } from './caches/kvCache.ts'
import type { CausalLM } from './causalLM.ts'

/** The most tokens of a chunk: more let weights be unpacked for more tokens at once, and take more memory. */
const largestChunk = 512
/** Tokens of the first chunk where chunks may take only so long; others are multiples of it. */
const firstChunk = 32
/**
 * Bytes of buffers that stay for the next prompt: the system clears the pages that it gives, and a step needs far
 * less room than a prompt.
 */
const keptBytes = 64 * 2 ** 20
/** What a step of others, or an abort that no kernel sees, waits for at most. */
const briefMs = 150

export interface PrefillOptions {
  /** Ends it: within a kernel, where the device sees what is raised while it runs, else between chunks. */
  signal?: AbortSignal
  /** Whether others wait while a chunk runs: then chunks are as small as the device's speed asks for. */
  brief?: boolean
}

/** Runs a prompt in chunks, as large as memory likes or as small as who waits does. */
interface Chunks {
  /** How many tokens come next, of `left`. */
  next(left: number): number
  /** What the last ones took. */
  took(ms: number): void
}

/** Equal ones, as few as can be. */
function largeChunks(tokens: number): Chunks {
  const size = Math.ceil(tokens / Math.ceil(tokens / largestChunk))
  return { next: (left) => Math.min(size, left), took() {} }
}

/** Such as take about `briefMs`. */
function briefChunks(device: Device): Chunks {
  let size = firstChunk
  return {
    next: (left) => Math.min(size, left),
    took(ms) {
      const next = nextChunk(size, ms)
      // Buffers of the old size would only lie about.
      if (next !== size) device.trim()
      size = next
    },
  }
}

/**
 * The tokens of the next chunk after one of `size` tokens took `ms`; a size that is about right is kept, and
 * with it the buffers.
 */
export function nextChunk(size: number, ms: number): number {
  const possible = (size * briefMs) / ms
  if (possible > 0.75 * size && possible < 1.5 * size) return size
  return Math.min(Math.max(Math.floor(possible / firstChunk) * firstChunk, firstChunk), largestChunk)
}

/**
 * Runs a prompt in chunks and yields after each but the last; returns the logits of its last token [1, 1, V].
 * @param cache holds the tokens before `ids`, and gets these
 * @throws what the signal gives as its reason
 */
export async function* prefill(
  model: CausalLM,
  ids: readonly number[],
  cache: KVCache,
  compute: Compute,
  { signal, brief = false }: PrefillOptions = {},
): AsyncGenerator<void, Tensor> {
  const { device } = model
  using stop = signal ? device.stopOn(signal) : null
  const chunks = brief || (signal && !stop) ? briefChunks(device) : largeChunks(ids.length)
  for (let start = 0; ; ) {
    const started = performance.now()
    const end = start + chunks.next(ids.length - start)
    const part = ids.slice(start, end)
    if (end === ids.length) {
      const logits = stoppable(stop, device, () =>
        compute(() => model.forward(part, { cache, lastOnly: true })),
      )
      return signal ? finished(logits, signal) : logits
    }
    stoppable(stop, device, () => compute(() => model.extend(part, cache)))
    await device.sync()
    signal?.throwIfAborted()
    chunks.took(performance.now() - started)
    start = end
    yield
  }
}

/** As `prefill`, to its end. */
export async function readPrompt(
  model: CausalLM,
  ids: readonly number[],
  cache: KVCache,
  compute: Compute,
  signal?: AbortSignal,
): Promise<Tensor> {
  const chunks = prefill(model, ids, cache, compute, { signal })
  let chunk = await chunks.next()
  while (!chunk.done) chunk = await chunks.next()
  model.device.trim(keptBytes)
  return chunk.value
}

function stoppable<R>(stop: SignalStop | null, device: Device, body: () => R): R {
  return stop ? device.stoppable(stop, body) : body()
}

/** Logits once they are computed; what follows must not work with some that were stopped. */
async function finished(logits: Tensor, signal: AbortSignal): Promise<Tensor> {
  try {
    await logits.device.sync()
    signal.throwIfAborted()
    return logits
  } catch (error) {
    logits.dispose()
    throw error
  }
}
