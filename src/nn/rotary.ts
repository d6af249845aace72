import type { Device } from '../devices/device.ts'
import { type Position, rope } from '../tensor/ops/index.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'
import { inverseFrequencies, type RopeOptions, ropeAttentionFactor, ropeLength } from './rope.ts'

/** Turns the values of each head by the angles of their position, pair by pair. */
export class RotaryEmbedding extends Module {
  readonly options: RopeOptions
  /** factor · cos and factor · sin of every position's angles, both [positions, size/2] float32. */
  private cos: Tensor | null = null
  private sin: Tensor | null = null
  /** What the tables were made for, as far as they depend on it. */
  private length = 0
  private readonly printedName: string

  /** @param printedName the name that its class has in a family */
  constructor(options: RopeOptions, printedName = 'RotaryEmbedding') {
    super()
    this.options = options
    this.printedName = printedName
  }

  override get typeName(): string {
    return this.printedName
  }

  override get nonPersistentNames(): readonly string[] {
    return ['cos', 'sin']
  }

  /**
   * Makes the tables for as many positions, unless they are there: the host writes them, so that a kept list
   * cannot. Where frequencies depend on the length of the text, that is what the cache can hold, so that all
   * keys in it are turned alike.
   */
  prepare(device: Device, positions: number): void {
    const length = ropeLength(this.options.scaling, positions)
    if (this.cos && this.cos.size(0) >= positions && this.length === length) return
    const frequencies = inverseFrequencies(this.options, positions)
    const factor = ropeAttentionFactor(this.options.scaling)
    const half = frequencies.length
    const cos = new Float32Array(positions * half)
    const sin = new Float32Array(positions * half)
    for (let position = 0; position < positions; position++) {
      for (let i = 0; i < half; i++) {
        const angle = Math.fround(position * frequencies[i])
        cos[position * half + i] = factor * Math.cos(angle)
        sin[position * half + i] = factor * Math.sin(angle)
      }
    }
    this.cos?.dispose()
    this.sin?.dispose()
    this.cos = keep(Tensor.fromArray(device, cos, [positions, half]))
    this.sin = keep(Tensor.fromArray(device, sin, [positions, half]))
    this.length = length
  }

  /** x [B, T, H, D] float32 → the same turned, its tokens standing at `position` and after. */
  forward(x: Tensor, position: Position): Tensor {
    const { size: rotaryDim, interleaved = false } = this.options
    return rope(x, this.cos as Tensor, this.sin as Tensor, position, { rotaryDim, interleaved })
  }
}
