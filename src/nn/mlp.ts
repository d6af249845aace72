import { siluMul } from '../tensor/ops/index.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { Block, type BlockNames } from './block.ts'
import type { LinearLike } from './layerLike.ts'

/** y = down(activation(up(x))). */
export class MLP extends Block<'up' | 'down'> {
  declare readonly up: LinearLike
  declare readonly down: LinearLike
  private readonly activation: (x: Tensor) => Tensor

  constructor(
    parts: { up: LinearLike; down: LinearLike },
    activation: (x: Tensor) => Tensor,
    names: BlockNames<'up' | 'down'>,
  ) {
    super(names)
    Object.assign(this, parts)
    this.activation = activation
  }

  /** x [..., hidden] → [..., hidden] */
  forward(x: Tensor): Tensor {
    return this.down.forward(this.activation(this.up.forward(x)))
  }
}

/**
 * y = down(silu(gate(x)) · up(x)).
 * Source: Shazeer, "GLU Variants Improve Transformer", 2020, SwiGLU.
 */
export class GatedMLP extends Block<'gate' | 'up' | 'down'> {
  declare readonly gate: LinearLike
  declare readonly up: LinearLike
  declare readonly down: LinearLike

  constructor(
    parts: { gate: LinearLike; up: LinearLike; down: LinearLike },
    names: BlockNames<'gate' | 'up' | 'down'>,
  ) {
    super(names)
    Object.assign(this, parts)
  }

  /** x [..., hidden] → [..., hidden] */
  forward(x: Tensor): Tensor {
    return this.down.forward(siluMul(this.gate.forward(x), this.up.forward(x)))
  }
}
