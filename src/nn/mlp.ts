import { mul, silu, siluMul, split } from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { Block, type BlockNames } from './block.ts'
import type { LinearLike, MLPLike } from './layerLike.ts'

/** What multiplies x by the weight of a part, and adds its bias: x [..., in] → [..., out]. */
export type Multiply<Part extends string = string> = (part: Part, x: Tensor) => Tensor

/** An MLP whose layers are its parts, and which can be computed with products that others make of them. */
export interface ExpertLike extends MLPLike {
  compute(x: Tensor, multiply: Multiply): Tensor
}

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
    return this.compute(x, (part, input) => this[part].forward(input))
  }

  /** The same with products that `multiply` makes. */
  compute(x: Tensor, multiply: Multiply<'up' | 'down'>): Tensor {
    return multiply('down', this.activation(multiply('up', x)))
  }
}

/** The layers of a gated MLP: a projection each for gate and values, or one for both. */
export type GatedMLPParts = (
  | { gate: LinearLike; up: LinearLike }
  /** Its outputs are the gate, then the values. */
  | { gateUp: LinearLike }
) & { down: LinearLike }

type GatedMLPPart = 'gate' | 'up' | 'gateUp' | 'down'

/**
 * y = down(activation(gate(x)) · up(x)), the activation silu unless another is given.
 * Source: Shazeer, "GLU Variants Improve Transformer", 2020, SwiGLU and its kin.
 */
export class GatedMLP extends Block<GatedMLPPart> {
  declare readonly gate?: LinearLike
  declare readonly up?: LinearLike
  declare readonly gateUp?: LinearLike
  declare readonly down: LinearLike
  private readonly activation: (x: Tensor) => Tensor

  constructor(
    parts: GatedMLPParts,
    names: BlockNames<GatedMLPPart>,
    activation: (x: Tensor) => Tensor = silu,
  ) {
    super(names)
    Object.assign(this, parts)
    this.activation = activation
  }

  override get sameInput(): readonly GatedMLPPart[] {
    return ['gate', 'up']
  }

  /** x [..., hidden] → [..., hidden] */
  forward(x: Tensor): Tensor {
    return this.compute(x, (part, input) => (this[part] as LinearLike).forward(input))
  }

  /** The same with products that `multiply` makes. */
  compute(x: Tensor, multiply: Multiply<GatedMLPPart>): Tensor {
    // Gate and values are the widest of a layer: they go before the next product.
    const y = scope(() => gated(this.activation, ...this.project(x, multiply)))
    return multiply('down', y)
  }

  /** Gate and values of x, each [..., intermediate]. */
  private project(x: Tensor, multiply: Multiply<GatedMLPPart>): [Tensor, Tensor] {
    if (!this.gateUp) return [multiply('gate', x), multiply('up', x)]
    const both = multiply('gateUp', x)
    const size = both.size(-1) / 2
    const [gate, up] = split(both, [size, size], -1)
    return [gate, up]
  }
}

/** activation(gate) · up; one kernel for silu. */
export function gated(activation: (x: Tensor) => Tensor, gate: Tensor, up: Tensor): Tensor {
  return activation === silu ? siluMul(gate, up) : mul(activation(gate), up)
}
