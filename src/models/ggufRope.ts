import { FormatError } from '../core/errors.ts'
import type { GgufFile } from '../formats/gguf.ts'
import { show } from '../formats/json.ts'
import { inverseFrequencies, type RopeScaling } from '../nn/rope.ts'

/**
 * The `rope_scaling` of a config.json that says what a GGUF file says; null where nothing is scaled.
 * @param architecture stands before its keys
 * @param config what the config.json holds so far
 * @param factors the values of the tensor `rope_freqs.weight`, or null if there is none
 * @throws FormatError if that cannot be, or is not supported
 */
export function ggufRopeScaling(
  file: GgufFile,
  architecture: string,
  config: Readonly<Record<string, unknown>>,
  factors: readonly number[] | null,
): Record<string, unknown> | null {
  const { metadata, name } = file
  const heads = Number(config.num_attention_heads)
  const headSize = Number(config.head_dim ?? Number(config.hidden_size) / heads)
  // What makes it none is refused when the config is parsed.
  if (!Number.isInteger(headSize)) return null
  const key = (end: string) => `${architecture}.${end}`
  for (const size of [key('attention.value_length'), key('rope.dimension_count')]) {
    if (metadata.positiveInteger(size, headSize) !== headSize)
      throw metadata.error(size, `must be the head size (${headSize})`)
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
  if (factors) return factorScaling(file, config, headSize, factors)
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
  { name }: GgufFile,
  config: Readonly<Record<string, unknown>>,
  headSize: number,
  factors: readonly number[],
): Record<string, unknown> {
  if (factors.length !== headSize / 2 || !factors.every((factor) => Number.isFinite(factor) && factor > 0)) {
    const rule = `rope_freqs.weight must hold ${headSize / 2} numbers above 0`
    throw new FormatError(`${name}: ${rule}; received ${factors.length}: ${show(factors)}`, {
      tensor: 'rope_freqs.weight',
    })
  }
  const frequencies = (scaling: RopeScaling) =>
    inverseFrequencies({ size: headSize, theta: Number(config.rope_theta ?? 10000), scaling })
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
