import { type CommandList, Scalar } from '../devices/commandList.ts'
import { argmax } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { KVCache } from './cache.ts'
import type { CausalLM } from './causalLM.ts'

/**
 * One step of generation as a kept command list: it takes a token, adds it to the cache, and leaves the likeliest next token in its place.
 * Recorded once for a cache; a step then costs one call, whatever the model's depth.
 */
export class DecodeStep {
  /** [1, 1] int32: the token to take, and after `run` the likeliest next. */
  readonly ids: Tensor
  /** [1, 1, V] float32, of the last `run`. */
  readonly logits: Tensor
  private readonly cache: KVCache
  private readonly position: Scalar
  private readonly list: CommandList

  constructor(model: CausalLM, cache: KVCache) {
    const { device } = model
    this.cache = cache
    this.position = new Scalar(cache.length)
    this.ids = keep(Tensor.empty(device, [1, 1], 'int32'))
    // Tables are written by the host, which a kept list cannot hold: they must be there before.
    model.prepare(cache.capacity)
    const { list, result } = device.capture(() =>
      scope(() => {
        const logits = model.forward(this.ids, { cache, position: this.position })
        device.call('copy', argmax(logits), this.ids, this.ids.byteLength)
        return keep(logits)
      }),
    )
    this.list = list
    this.logits = result
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
    scope(() => this.ids.device.call('copy', argmax(logits), this.ids, this.ids.byteLength))
  }

  dispose(): void {
    this.logits.dispose()
    this.ids.dispose()
    this.list.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
