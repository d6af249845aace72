import type { FloatDType } from '../core/dtype.ts'
import { roundTo } from '../core/halves.ts'
import type { Device } from '../devices/device.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'

/** How a model biases the scores of its heads. */
export interface AlibiOptions {
  heads: number
  /** Multiplies the biases; default 1. */
  scale?: number
  /** What slopes, positions and their products are rounded to before that; default float32. */
  dtype?: FloatDType
}

/**
 * Attention with linear biases: slope · j is added to the scores of key j. What the paper subtracts for the
 * distance to the query differs from that by the same for all keys, which softmax does not see.
 * Source: Press et al., "Train Short, Test Long", 2021; slopes of other numbers of heads than powers of two
 * as in its authors' code.
 */
export class Alibi extends Module {
  readonly options: AlibiOptions
  /** [heads, 1, positions] float32. */
  private table: Tensor | null = null

  constructor(options: AlibiOptions) {
    super()
    this.options = options
  }

  override get nonPersistentNames(): readonly string[] {
    return ['table']
  }

  /** What is added to scores, [heads, 1, positions] float32, as `prepare` made it. */
  get bias(): Tensor {
    return this.table as Tensor
  }

  /**
   * Makes the table for as many positions, unless it is there: the host writes it, so that a kept list
   * cannot.
   */
  prepare(device: Device, positions: number): void {
    if (this.table && this.table.size(-1) >= positions) return
    const { heads, scale = 1, dtype = 'float32' } = this.options
    const places = Array.from({ length: positions }, (_, j) => roundTo(dtype, j))
    const values = new Float32Array(heads * positions)
    for (const [head, exact] of alibiSlopes(heads).entries()) {
      const slope = roundTo(dtype, exact)
      for (const [j, place] of places.entries())
        values[head * positions + j] = scale * roundTo(dtype, slope * place)
    }
    this.table?.dispose()
    this.table = keep(Tensor.fromArray(device, values, [heads, 1, positions]))
  }
}

/**
 * The slope of each head: 2^(−8/n), its square, its cube … for n heads, a power of two; for other numbers
 * those of the next lower power, then every second one of the next higher.
 */
export function alibiSlopes(heads: number): Float32Array {
  const lower = 2 ** Math.floor(Math.log2(heads))
  const slope = (n: number, power: number) => Math.fround(2 ** (-8 / n)) ** power
  return Float32Array.from({ length: heads }, (_, head) =>
    head < lower ? slope(lower, head + 1) : slope(2 * lower, 2 * (head - lower) + 1),
  )
}
