import { FormatError } from '../core/errors.ts'
import type { GgufFile } from '../formats/gguf.ts'
import type { GgufValue } from '../formats/ggufWriter.ts'
import { show } from '../formats/json.ts'
import {
  inverseFrequencies,
  type LongRope,
  type RopeOptions,
  type RopeScaling,
  type YarnRope,
} from '../nn/rope.ts'
import type { GgufFamily } from './families/family.ts'
import { usualRopeNames } from './families/ropeFields.ts'
import { longRopeNames, ropeFactorsName } from './ggufTensors.ts'

/**
 * Factors of the rotary frequencies that tensors of a file hold: `rope_freqs.weight`, or those of short texts
 * and of long ones.
 */
export type RopeFactors =
  | readonly number[]
  | { readonly short: readonly number[]; readonly long: readonly number[] }
  | null

/**
 * The fields of a config.json that say what a GGUF file says of positions: `rope_scaling`, null where nothing
 * is scaled, and `partial_rotary_factor` where a part of each head turns.
 * @param config what the config.json holds so far
 * @throws FormatError if that cannot be, or is not supported
 */
export function ggufRopeFields(
  file: GgufFile,
  { architecture, partialRotary = false, longRope, ropeNames = usualRopeNames }: GgufFamily,
  config: Readonly<Record<string, unknown>>,
  factors: RopeFactors,
): Record<string, unknown> {
  const { metadata } = file
  const heads = Number(config.num_attention_heads)
  const headSize = Number(config.head_dim ?? Number(config.hidden_size) / heads)
  // What makes it none is refused when the config is parsed.
  if (!Number.isInteger(headSize)) return {}
  const key = (end: string) => `${architecture}.${end}`
  const [value, turned] = ['attention.value_length', 'rope.dimension_count'].map(key)
  const size = metadata.positiveInteger(turned, headSize)
  if (metadata.positiveInteger(value, headSize) !== headSize)
    throw metadata.error(value, `must be the head size (${headSize})`)
  if (size > headSize || (size !== headSize && !partialRotary))
    throw metadata.error(turned, `must be ${partialRotary ? 'at most ' : ''}the head size (${headSize})`)
  const theta = Number(config[ropeNames.theta] ?? 10000)
  const rope_scaling = ropeScaling(file, key, { config, theta, size, factors })
  const original = longRope ? rope_scaling?.original_max_position_embeddings : undefined
  return {
    rope_scaling,
    ...(partialRotary && { [ropeNames.factor]: partOf(size, headSize) }),
    // Where Phi-3 has it, which does not look into `rope_scaling` for it.
    ...(original !== undefined && { original_max_position_embeddings: original }),
  }
}

/** size / headSize, rounded up where the product with headSize would be below `size`. */
function partOf(size: number, headSize: number): number {
  const part = size / headSize
  return headSize * part < size ? part * (1 + 2 ** -52) : part
}

/** What scales the positions of a file, which `factors` may state. */
interface ScaledPositions {
  config: Readonly<Record<string, unknown>>
  theta: number
  /** Values of a head that are turned. */
  size: number
  factors: RopeFactors
}

function ropeScaling(
  { metadata, name }: GgufFile,
  key: (end: string) => string,
  scaled: ScaledPositions,
): Record<string, unknown> | null {
  const { factors } = scaled
  if (factors && 'short' in factors) {
    const original = key('rope.scaling.original_context_length')
    const attention = key('rope.scaling.attn_factor')
    return {
      rope_type: 'longrope',
      short_factor: factors.short,
      long_factor: factors.long,
      ...(metadata.has(attention) && { attention_factor: metadata.positive(attention) }),
      original_max_position_embeddings: metadata.positiveInteger(original),
    }
  }
  const older = key('rope.scale_linear')
  const type = metadata.string(key('rope.scaling.type'), metadata.has(older) ? 'linear' : 'none')
  if (type !== 'none' && type !== 'linear' && type !== 'yarn')
    throw metadata.error(key('rope.scaling.type'), 'must be "none", "linear" or "yarn"')
  const factor =
    type === 'none' ? 1 : metadata.positive(key('rope.scaling.factor'), metadata.positive(older, 1))
  if (factor !== 1 && factors)
    throw new FormatError(
      `${name}: positions must be scaled by a factor or by rope_freqs.weight; they are by both`,
    )
  if (factors) return factorScaling(name, scaled, factors)
  if (factor === 1) return null
  if (type === 'linear') return { rope_type: 'linear', factor }
  const original = metadata.positiveInteger(key('rope.scaling.original_context_length'))
  return { rope_type: 'yarn', factor, original_max_position_embeddings: original }
}

/** Llama 3.1 to 3.3 differ in the first number only. */
const llama3 = { lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 8192 }

/**
 * The rule of Llama 3 if the factors are what it gives, which a config.json can say; else they are listed,
 * the same for short texts and long ones.
 */
function factorScaling(
  name: string,
  { config, theta, size }: ScaledPositions,
  factors: readonly number[],
): Record<string, unknown> {
  if (factors.length !== size / 2 || !factors.every((factor) => Number.isFinite(factor) && factor > 0)) {
    const rule = `rope_freqs.weight must hold ${size / 2} numbers above 0`
    throw new FormatError(`${name}: ${rule}; received ${factors.length}: ${show(factors)}`, {
      tensor: 'rope_freqs.weight',
    })
  }
  const frequencies = (scaling: RopeScaling) => inverseFrequencies({ size, theta, scaling })
  const factor = Math.max(...factors)
  const plain = frequencies({ type: 'default' })
  const scaled = frequencies({ type: 'llama3', factor, ...llama3 })
  if (factors.every((one, i) => Math.abs((one * scaled[i]) / plain[i] - 1) < 1e-5)) {
    return {
      rope_type: 'llama3',
      factor,
      low_freq_factor: llama3.lowFrequencyFactor,
      high_freq_factor: llama3.highFrequencyFactor,
      original_max_position_embeddings: llama3.originalMaxPositions,
    }
  }
  return {
    rope_type: 'longrope',
    short_factor: factors,
    long_factor: factors,
    attention_factor: 1,
    original_max_position_embeddings: config.max_position_embeddings,
  }
}

/** How a GGUF file says what `ggufRopeScaling` reads. */
export interface GgufRope {
  /** By keys without the architecture. */
  readonly entries: readonly [string, GgufValue][]
  /** The values of tensors, by their names. */
  readonly factors: Readonly<Record<string, Float32Array>>
}

/**
 * How a GGUF file says how positions are scaled.
 * @param longRope whether it may scale those of short texts and of long ones by factors of their own
 * @throws FormatError if it cannot
 */
export function ropeInGguf(rope: RopeOptions, longRope = false): GgufRope {
  const { scaling } = rope
  const named = (type: string, factor: number): GgufRope['entries'] => [
    ['rope.scaling.type', { type: 'string', value: type }],
    ['rope.scaling.factor', { type: 'float32', value: factor }],
  ]
  switch (scaling.type) {
    case 'linear':
      return { entries: named('linear', scaling.factor), factors: {} }
    case 'yarn': {
      checkYarn(scaling)
      return { entries: [...named('yarn', scaling.factor), originalEntry(scaling)], factors: {} }
    }
    case 'llama3': {
      const plain = inverseFrequencies({ ...rope, scaling: { type: 'default' } })
      const scaled = inverseFrequencies(rope)
      const factors = plain.map((frequency, i) => frequency / scaled[i])
      return { entries: [], factors: { [ropeFactorsName]: factors } }
    }
    case 'longrope': {
      const { shortFactors, longFactors, attentionFactor } = scaling
      const [short, long] = [shortFactors, longFactors].map((factors) => Float32Array.from(factors))
      if (longRope) {
        const attention: GgufValue = { type: 'float32', value: attentionFactor }
        return {
          entries: [originalEntry(scaling), ['rope.scaling.attn_factor', attention]],
          factors: { [longRopeNames.short]: short, [longRopeNames.long]: long },
        }
      }
      if (attentionFactor === 1 && shortFactors.every((factor, i) => factor === longFactors[i]))
        return { entries: [], factors: { [ropeFactorsName]: short } }
      throw new FormatError(
        'gguf: positions must be scaled alike in short texts and long ones; LongRoPE scales them otherwise',
      )
    }
    default:
      // A base that grows with the text is the same up to the trained length, where a file's texts end.
      return { entries: [], factors: {} }
  }
}

function originalEntry({ originalMaxPositions }: YarnRope | LongRope): [string, GgufValue] {
  return ['rope.scaling.original_context_length', { type: 'uint32', value: originalMaxPositions }]
}

/** llama.cpp has the paper's constants. */
function checkYarn({ factor, betaFast, betaSlow, attentionFactor }: YarnRope): void {
  const usual = 0.1 * Math.log(factor) + 1
  if (betaFast === 32 && betaSlow === 1 && Math.abs(attentionFactor / usual - 1) < 1e-6) return
  throw new FormatError(
    `gguf: YaRN must have beta_fast 32, beta_slow 1 and attention_factor ${usual}; it has ${betaFast}, ${betaSlow} and ${attentionFactor}`,
  )
}
