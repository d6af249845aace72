import { ShapeError } from '../core/errors.ts'
import type { KVCache } from '../models/caches/kvCache.ts'
import type { CausalLM } from '../models/causalLM.ts'
import type { ChatMessage } from '../models/chatTemplate.ts'
import { generate, type StreamOptions } from '../models/generate.ts'
import type { Generation } from '../models/generation.ts'
import type { Tokenizer } from '../models/tokenizer.ts'

/** Of a context that is full, this share is kept free for the answer. */
const answerShare = 4

/** A chat: what was said, and how the model answers. */
export class Conversation {
  /** With the system message first, where there is one. */
  messages: ChatMessage[] = []
  private readonly model: CausalLM
  private readonly tokenizer: Tokenizer
  private readonly options: StreamOptions & { template?: string }
  /** What the next prompt has in common with the last one is not read again. */
  private cache: KVCache | null = null

  constructor(model: CausalLM, tokenizer: Tokenizer, options: StreamOptions & { template?: string }) {
    this.model = model
    this.tokenizer = tokenizer
    this.options = options
  }

  /** The instruction that stands before all turns; setting it begins anew. */
  get system(): string | undefined {
    const [first] = this.messages
    return first?.role === 'system' ? String(first.content) : undefined
  }

  set system(text: string | undefined) {
    this.messages = text === undefined ? [] : [{ role: 'system', content: text }]
  }

  /** Begins anew, under the same instruction. */
  clear(): void {
    this.system = this.system
  }

  /**
   * Says something and streams the answer. An answer that `signal` ends is kept as far as it came; if anything
   * else fails, nothing was said.
   * @returns what was generated, and how many of the oldest messages had to go since the context was full;
   * null if the answer was ended
   */
  async say(
    content: string,
    onText: (piece: string) => void,
    signal: AbortSignal,
  ): Promise<{ generation: Generation | null; forgotten: number }> {
    const before = this.messages
    this.messages = [...before, { role: 'user', content }]
    let answer = ''
    try {
      const { ids, forgotten } = await this.fittingPrompt()
      const { template: _, kv: __, ...options } = this.options
      const generation = await generate(this.model, ids, {
        ...options,
        cache: this.cacheFor(ids.length),
        signal,
        onText(piece) {
          answer += piece
          onText(piece)
        },
      })
      this.messages.push({ role: 'assistant', content: generation.text })
      return { generation, forgotten }
    } catch (error) {
      if (!signal.aborted || answer === '') this.messages = before
      else this.messages.push({ role: 'assistant', content: answer })
      if (!signal.aborted) throw error
      return { generation: null, forgotten: 0 }
    }
  }

  /** The prompt's tokens, without the oldest turns if all do not fit and leave room for an answer. */
  private async fittingPrompt(): Promise<{ ids: number[]; forgotten: number }> {
    const { template, maxNewTokens = 128 } = this.options
    const { maxPositions } = this.model.config
    const room = maxPositions - Math.min(maxNewTokens, Math.floor(maxPositions / answerShare))
    const start = this.system === undefined ? 0 : 1
    for (let forgotten = 0; ; forgotten += 2) {
      const ids = await this.tokenizer.encodeChat(this.messages, { template })
      if (ids.length <= room) return { ids, forgotten }
      if (this.messages.length <= start + 2) {
        if (ids.length <= maxPositions) return { ids, forgotten }
        throw new ShapeError(
          `chat: a message must fit into the model's context of ${maxPositions} tokens; with it there are ${ids.length}`,
        )
      }
      // A question goes with its answer.
      this.messages = this.messages.toSpliced(start, 2)
    }
  }

  /** The cache, made anew with twice the room where a prompt and its answer need more than it has. */
  private cacheFor(promptTokens: number): KVCache {
    const { maxNewTokens = 128, kv = 'float16' } = this.options
    const { maxPositions } = this.model.config
    const needed = Math.min(maxPositions, promptTokens + maxNewTokens)
    if (this.cache && this.cache.capacity >= needed) return this.cache
    this.dispose()
    this.cache = this.model.createCache(Math.min(maxPositions, 2 * needed), { kv })
    return this.cache
  }

  dispose(): void {
    this.cache?.dispose()
    this.cache = null
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
