/** How the angles are stretched for contexts beyond those of the first training. */
export type RopeScaling =
  | { type: 'default' }
  | { type: 'linear'; factor: number }
  | DynamicRope
  | Llama3Rope
  | YarnRope
  | LongRope

/** The base grows with the length of the text, once that is above `maxPositions`. */
export interface DynamicRope {
  type: 'dynamic'
  factor: number
  maxPositions: number
}

/** Long waves are stretched, short ones are not, and between them a blend. */
export interface Llama3Rope {
  type: 'llama3'
  factor: number
  lowFrequencyFactor: number
  highFrequencyFactor: number
  originalMaxPositions: number
}

/** As Llama 3's, the blend linear in the number of the pair. */
export interface YarnRope {
  type: 'yarn'
  factor: number
  /** Turns within the first training from which on a wave is short, and up to which it is long. */
  betaFast: number
  betaSlow: number
  originalMaxPositions: number
  /** Whether the pairs between which the blend lies are whole. */
  truncate: boolean
  /** Multiplies queries and keys. */
  attentionFactor: number
}

/**
 * One factor a pair, which divides its frequency: others for texts of more than `originalMaxPositions`
 * tokens.
 * LongRoPE goes by what the cache can hold, not by the length so far as in transformers, which then mixes
 * keys that were turned differently.
 */
export interface LongRope {
  type: 'longrope'
  shortFactors: readonly number[]
  longFactors: readonly number[]
  originalMaxPositions: number
  /** Multiplies queries and keys. */
  attentionFactor: number
}

/** Which positions a rotary embedding tells apart, and how. */
export interface RopeOptions {
  /** Values of a head that are turned, the first ones: an even number. */
  size: number
  theta: number
  scaling: RopeScaling
  /** Pairs (2i, 2i + 1), as in GPT-J; default (i, i + size/2), as in Hugging Face's Llama. */
  interleaved?: boolean
}

/** Multiplies queries and keys as they are turned. */
export function ropeAttentionFactor(scaling: RopeScaling): number {
  return scaling.type === 'yarn' || scaling.type === 'longrope' ? scaling.attentionFactor : 1
}

/**
 * The length of a text as far as its frequencies depend on it: two lengths that give the same number have the
 * same frequencies.
 */
export function ropeLength(scaling: RopeScaling, positions: number): number {
  if (scaling.type === 'dynamic') return Math.max(positions, scaling.maxPositions)
  if (scaling.type !== 'longrope') return 0
  const { originalMaxPositions } = scaling
  return positions > originalMaxPositions ? originalMaxPositions + 1 : originalMaxPositions
}

/**
 * Angle per position of each of the size/2 pairs: θ^(−2i/size), rounded to float32 as PyTorch computes it,
 * then scaled.
 * Source: Su et al., "RoFormer", 2021; the scalings as in transformers, modeling_rope_utils.py.
 * @param positions length of the text, on which the frequencies of `dynamic` and `longrope` depend
 */
export function inverseFrequencies(options: RopeOptions, positions = 0): Float32Array {
  const { size, scaling } = options
  const length = ropeLength(scaling, positions)
  const theta = scaling.type === 'dynamic' ? dynamicTheta(options, scaling, length) : options.theta
  const plain = Float32Array.from({ length: size / 2 }, (_, i) => {
    return 1 / Math.fround(theta ** Math.fround((2 * i) / size))
  })
  switch (scaling.type) {
    case 'default':
    case 'dynamic':
      return plain
    case 'linear':
      return plain.map((frequency) => frequency / scaling.factor)
    case 'llama3':
      return plain.map((frequency) => llama3Frequency(frequency, scaling))
    case 'yarn':
      return yarnFrequencies(plain, options, scaling)
    case 'longrope': {
      const isLong = length > scaling.originalMaxPositions
      const factors = isLong ? scaling.longFactors : scaling.shortFactors
      return plain.map((frequency, i) => frequency / factors[i])
    }
  }
}

/** Source: bloc97 and emozilla, "Dynamically Scaled RoPE", 2023. */
function dynamicTheta(
  { size, theta }: RopeOptions,
  { factor, maxPositions }: DynamicRope,
  length: number,
): number {
  return theta * ((factor * length) / maxPositions - (factor - 1)) ** (size / (size - 2))
}

function llama3Frequency(frequency: number, scaling: Llama3Rope): number {
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } = scaling
  const wavelength = (2 * Math.PI) / frequency
  if (wavelength > originalMaxPositions / lowFrequencyFactor) return frequency / factor
  if (wavelength < originalMaxPositions / highFrequencyFactor) return frequency
  // Between the two, a blend that is continuous at both ends.
  const smooth =
    (originalMaxPositions / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor)
  return ((1 - smooth) * frequency) / factor + smooth * frequency
}

/** Source: Peng et al., "YaRN", 2023, equations 17 to 25. */
function yarnFrequencies(
  plain: Float32Array,
  { size, theta }: RopeOptions,
  { factor, betaFast, betaSlow, originalMaxPositions, truncate }: YarnRope,
): Float32Array {
  /** The pair whose wave turns so often within the first training. */
  const pairOf = (turns: number) =>
    (size * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  const [fast, slow] = [pairOf(betaFast), pairOf(betaSlow)]
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0)
  const high = Math.min(truncate ? Math.ceil(slow) : slow, size - 1)
  const span = low === high ? 0.001 : high - low
  return plain.map((frequency, i) => {
    const stretched = Math.min(Math.max((i - low) / span, 0), 1)
    return (frequency / factor) * stretched + frequency * (1 - stretched)
  })
}
