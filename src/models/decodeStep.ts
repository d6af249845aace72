import { type CommandList, Scalar } from '../devices/commandList.ts'
import { argmax, embedding } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { copyTo, Tensor } from '../tensor/tensor.ts'
import type { KVCache } from './caches/kvCache.ts'
import type { CausalLM } from './causalLM.ts'

/**
 * One step of generation as a kept command list: it takes a token, adds it to the cache, and leaves the
 * likeliest next token in its place. Recorded once for a cache; a step then costs one call, whatever the
 * model's depth.
 * Recording a step costs JavaScript more than running it costs the device on small models (stories260K: 7,000
 * → 14,000 tokens a second).
 */
export class DecodeStep {
  /**
   * [2] int32: the token to take, after `run` the likeliest next; and the bits of that one's logit, which is
   * NaN as soon as any is.
   */
  private readonly state: Tensor
  /** [1, 1], the token in `state`. */
  private readonly ids: Tensor
  /** [1, 1, V] float32, of the last `run`. */
  readonly logits: Tensor
  private readonly cache: KVCache
  private readonly position: Scalar
  private readonly list: CommandList

  constructor(model: CausalLM, cache: KVCache) {
    const { device } = model
    this.cache = cache
    this.position = new Scalar(cache.length)
    this.state = keep(Tensor.empty(device, [2], 'int32'))
    this.ids = keep(scope(() => keep(this.state.rows(0, 1).view([1, 1]))))
    try {
      // Tables are written by the host, which a kept list cannot hold: they must be there before.
      model.prepare(cache.capacity)
      const { list, result } = device.capture(() =>
        scope(() => {
          const logits = model.forward(this.ids, { cache, position: this.position })
          this.takeLikeliest(logits)
          return keep(logits)
        }),
      )
      this.list = list
      this.logits = result
    } catch (error) {
      this.ids.dispose()
      this.state.dispose()
      throw error
    }
  }

  /** Queues one step. */
  run(): void {
    this.position.value = this.cache.length++
    this.list.run()
  }

  /** Sets the token to take. */
  feed(id: number): void {
    this.ids.write(new Uint8Array(Int32Array.of(id).buffer))
  }

  /** Sets the token to take to the likeliest of logits [1, 1, V]. */
  feedLikeliest(logits: Tensor): void {
    scope(() => this.takeLikeliest(logits))
  }

  /** Resolves to the likeliest token and its logit, as the steps queued so far leave them. */
  async likeliest(): Promise<{ id: number; logit: number }> {
    const bytes = await this.state.readBytes()
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    return { id: view.getInt32(0, true), logit: view.getFloat32(4, true) }
  }

  /** Records what puts the likeliest of logits [1, 1, V] into `state`. */
  private takeLikeliest(logits: Tensor): void {
    const best = argmax(logits)
    const logit = embedding(logits.view([logits.numel, 1]), best)
    copyTo(best, this.ids)
    copyTo(logit, this.state.rows(1, 2))
  }

  dispose(): void {
    this.logits.dispose()
    this.ids.dispose()
    this.state.dispose()
    this.list.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
