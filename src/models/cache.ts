import type { Device } from '../devices/device.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { CausalLMConfig } from './causalLM.ts'

/**
 * Keys and values of the tokens seen so far: per layer two tensors [B, keyValueHeads, capacity, headSize]
 * float32.
 */
export class KVCache {
  readonly batch: number
  /** Tokens it can hold. */
  readonly capacity: number
  readonly keys: Tensor[] = []
  readonly values: Tensor[] = []
  /** Tokens it holds. */
  length = 0

  constructor(device: Device, config: CausalLMConfig, capacity: number, batch = 1) {
    this.batch = batch
    this.capacity = capacity
    const shape = [batch, config.keyValueHeads, capacity, config.headSize]
    for (let layer = 0; layer < config.layers; layer++) {
      this.keys.push(keep(Tensor.empty(device, shape)))
      this.values.push(keep(Tensor.empty(device, shape)))
    }
  }

  dispose(): void {
    for (const tensor of [...this.keys, ...this.values]) tensor.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
