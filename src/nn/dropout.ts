import { check, within } from '../core/kinds.ts'
import { Random } from '../core/random.ts'
import type { Device } from '../devices/device.ts'
import { dropout } from '../tensor/ops/index.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'

/** Layers made so far: each starts from a seed of its own. */
let made = 0

/**
 * In training y = x / (1 − p) with probability 1 − p, else 0; otherwise y = x. `initialize` seeds it with the
 * model.
 */
export class Dropout extends Module {
  readonly p: number
  private random = new Random(++made)

  constructor(p = 0.5) {
    super()
    check('Dropout', 'p', p, within(0, 1))
    this.p = p
  }

  override extraRepr(): string {
    return `p=${this.p}, inplace=False`
  }

  override resetParameters(_device: Device, random: Random): void {
    this.random = new Random(random.uint32())
  }

  forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? dropout(x, this.p, this.random.uint32() | 0) : x.view(x.shape)
  }
}
