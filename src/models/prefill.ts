import type { Compute } from '../nn/computeDtype.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { KVCache } from './caches/kvCache.ts'
import type { CausalLM } from './causalLM.ts'

/** Prompt tokens of the first command list, and the most of any; others are multiples of the first. */
const firstChunk = 32
const largestChunk = 512
/**
 * How long a chunk should take: the longer, the faster the prompt is read; an abort between two of them is to
 * act within 200 ms.
 * Longer chunks let weights be unpacked for more tokens at once: 32 tokens give 83 GOP/s where 128 give 106.
 */
const chunkMs = 150

/**
 * The tokens of the next chunk after one of `size` tokens took `ms`; a size that is about right is kept, and
 * with it the buffers.
 */
export function nextChunk(size: number, ms: number): number {
  const possible = (size * chunkMs) / ms
  if (possible > 0.75 * size && possible < 1.5 * size) return size
  return Math.min(Math.max(Math.floor(possible / firstChunk) * firstChunk, firstChunk), largestChunk)
}

/**
 * Runs a prompt in chunks, as long as the device's speed allows, and yields after each but the last; returns
 * the logits of its last token [1, 1, V].
 * @param cache holds the tokens before `ids`, and gets these
 */
export async function* prefill(
  model: CausalLM,
  ids: readonly number[],
  cache: KVCache,
  compute: Compute,
): AsyncGenerator<void, Tensor> {
  let size = firstChunk
  for (let start = 0; ; ) {
    const started = performance.now()
    const end = Math.min(ids.length, start + size)
    if (end === ids.length)
      return compute(() => model.forward(ids.slice(start, end), { cache, lastOnly: true }))
    compute(() => model.extend(ids.slice(start, end), cache))
    await model.device.sync()
    const next = nextChunk(size, performance.now() - started)
    // Buffers of the old size would only lie about.
    if (next !== size) model.device.trim()
    size = next
    start = end
    yield
  }
}
