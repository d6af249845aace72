import type { Device } from '../devices/device.ts'
import { Tensor } from '../tensor/tensor.ts'

/** How the angles are stretched for contexts beyond those of the first training. */
export type RopeScaling =
  | { type: 'default' }
  | { type: 'linear'; factor: number }
  | {
      type: 'llama3'
      factor: number
      lowFrequencyFactor: number
      highFrequencyFactor: number
      originalMaxPositions: number
    }
  | LongRope

/**
 * One factor a pair, which divides its frequency: others for texts of more than `originalMaxPositions`
 * tokens.
 */
export interface LongRope {
  type: 'longrope'
  shortFactors: readonly number[]
  longFactors: readonly number[]
  originalMaxPositions: number
  /** Multiplies queries and keys. */
  attentionFactor: number
}

/**
 * Angle per position of each of the headSize/2 pairs: θ^(−2i/D), rounded to float32 as PyTorch computes it,
 * then scaled.
 * Source: Su et al., "RoFormer", 2021; Ding et al., "LongRoPE", 2024; the scalings as in transformers,
 * modeling_rope_utils.py.
 * @param isLong whether the text is longer than the positions of the first training
 */
export function inverseFrequencies(
  headSize: number,
  theta: number,
  scaling: RopeScaling,
  isLong = false,
): Float32Array {
  const frequencies = new Float32Array(headSize / 2)
  for (let i = 0; i < frequencies.length; i++) {
    const frequency = Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / headSize)))
    if (scaling.type === 'longrope')
      frequencies[i] = frequency / (isLong ? scaling.longFactors : scaling.shortFactors)[i]
    else frequencies[i] = scaleFrequency(frequency, scaling)
  }
  return frequencies
}

function scaleFrequency(frequency: number, scaling: Exclude<RopeScaling, LongRope>): number {
  if (scaling.type === 'default') return frequency
  if (scaling.type === 'linear') return frequency / scaling.factor
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } = scaling
  const wavelength = (2 * Math.PI) / frequency
  if (wavelength > originalMaxPositions / lowFrequencyFactor) return frequency / factor
  if (wavelength < originalMaxPositions / highFrequencyFactor) return frequency
  // Between the two, a blend that is continuous at both ends.
  const smooth =
    (originalMaxPositions / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor)
  return ((1 - smooth) * frequency) / factor + smooth * frequency
}

/** factor · cos and factor · sin of every position's angles, both [positions, headSize/2] float32. */
export interface RopeTables {
  cos: Tensor
  sin: Tensor
}

/** The tables of as many positions. */
export function ropeTables(
  device: Device,
  frequencies: Float32Array,
  positions: number,
  factor = 1,
): RopeTables {
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
  return {
    cos: Tensor.fromArray(device, cos, [positions, half]),
    sin: Tensor.fromArray(device, sin, [positions, half]),
  }
}
