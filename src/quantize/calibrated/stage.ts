import { ShapeError } from '../../core/errors.ts'
import { show } from '../../core/kinds.ts'
import type { Module } from '../../nn/module.ts'
import { type Observation, shadow } from '../../nn/observe.ts'
import { keep, scope, track } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { CalibratedLayer } from './algorithm.ts'

/** A model whose `forward` takes what a sample is. */
export type Model = Module & { forward(...args: never[]): unknown }

/** What `forward` takes of a sample. */
export type SampleArguments = readonly unknown[]

/** Layers that take the very same tensor. */
export interface LayerGroup {
  readonly layers: readonly CalibratedLayer[]
  /** How often a pass calls each of them. */
  readonly calls: number
  /** The outermost module of the block that gives what its only layer gives. */
  readonly gives: Module | null
}

/** Thrown to end a forward pass, whose rest nobody needs. */
class Ended {
  readonly y: Tensor | null

  constructor(y: Tensor | null) {
    this.y = y
  }
}

/** Ends the pass of a stage, from within a watcher. */
export function endPass(): never {
  throw new Ended(null)
}

/**
 * A stretch of a model whose layers are solved together: what comes before its first block, a block, what
 * comes after the last one; or the model as a whole.
 *
 * A pass through it is one of the whole model with blocks in the shadow of others: those before give back
 * what they are given, the stage's own takes what was kept in place of its first argument, and ends the pass.
 * So positions, masks, tables of angles and whatever else blocks are given are the model's own business.
 */
export class Stage {
  readonly path: string
  readonly module: Module
  /** In the order of their calls. */
  readonly groups: readonly LayerGroup[]
  private readonly model: Model
  private readonly blocks: readonly Module[]
  /** Which block it is: −1 before all of them, blocks.length after all of them. */
  private readonly place: number

  constructor(
    model: Model,
    blocks: readonly Module[],
    place: number,
    path: string,
    groups: readonly LayerGroup[],
  ) {
    this.model = model
    this.blocks = blocks
    this.place = place
    this.path = path
    this.module = blocks[place] ?? model
    this.groups = groups
  }

  get layers(): CalibratedLayer[] {
    return this.groups.flatMap(({ layers }) => layers)
  }

  /** Whether another stage takes what it gives. */
  get leadsOn(): boolean {
    return this.place < this.blocks.length && this.blocks.length > 0
  }

  /**
   * What the stage gives; of the running scope.
   * @param x what it takes; null where it begins with the sample
   * @returns null where the pass was ended before
   */
  forward(sample: SampleArguments, x: Tensor | null): unknown {
    const { blocks, place } = this
    const shadows: Observation[] = []
    const put = (j: number, f: Parameters<typeof shadow>[1]) => shadows.push(shadow(blocks[j], f))
    try {
      for (let j = 0; j < Math.min(place, blocks.length); j++)
        put(j, (_, [first]) => (j === blocks.length - 1 ? x : first))
      if (place < 0 && blocks.length > 0) put(0, (_, [first]) => end(tensor(first, 'take')))
      if (this.module !== this.model)
        put(place, (forward, [first, ...rest]) => end(tensor(forward(x ?? first, ...rest), 'give')))
      return scope(() => this.model.forward(...(sample as never[])))
    } catch (error) {
      if (!(error instanceof Ended)) throw error
      if (error.y) track(error.y)
      return error.y
    } finally {
      for (const unshadow of shadows) unshadow()
    }
  }
}

/** Ends the pass with y, in a view of its own, since it may be what the caller gave. */
function end(y: Tensor): never {
  throw new Ended(keep(y.view(y.shape)))
}

function tensor(value: unknown, verb: 'take' | 'give'): Tensor {
  if (value instanceof Tensor) return value
  throw new ShapeError(
    `quantizeCalibrated: blocks must ${verb} a tensor; received ${show(value)} (blocks: [] takes the model as one)`,
  )
}
