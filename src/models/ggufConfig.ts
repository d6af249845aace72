import { FormatError } from '../core/errors.ts'
import type { GgufFile } from '../formats/gguf.ts'
import { show } from '../formats/json.ts'
import { inverseFrequencies, type RopeScaling } from '../nn/rope.ts'
import type { LlamaLikeConfig } from './families/llamaLike.ts'
import { endOfTurnIds, ggufTokenId } from './ggufTokens.ts'

/**
 * Larger than any published model, small enough that no product of two overflows: what is above is a broken
 * file.
 */
const limits = {
  embedding_length: 2 ** 20,
  feed_forward_length: 2 ** 22,
  block_count: 4096,
  'attention.head_count': 2 ** 16,
  'attention.head_count_kv': 2 ** 16,
  'attention.key_length': 2 ** 16,
  vocab_size: 2 ** 24,
  context_length: 2 ** 28,
} as const

/**
 * What a GGUF file of the Llama architecture says about its model.
 * @param ropeFactors the values of the tensor `rope_freqs.weight`, or null if there is none
 * @param warn is told what is ignored since it is not sound
 * @throws FormatError if the architecture is another, or a key is missing, of the wrong type, or out of range
 */
export function ggufLlamaConfig(
  file: GgufFile,
  ropeFactors: readonly number[] | null,
  warn: (message: string) => void = () => {},
): LlamaLikeConfig {
  const { metadata, tensors } = file
  const architecture = metadata.string('general.architecture')
  if (architecture !== 'llama')
    throw metadata.error('general.architecture', 'must be "llama", the only one supported yet')
  const size = (key: keyof typeof limits, fallback?: number): number => {
    const value = metadata.positiveInteger(`llama.${key}`, fallback)
    if (value <= limits[key]) return value
    throw metadata.error(`llama.${key}`, `must be at most ${limits[key]}`)
  }
  if (metadata.count('llama.expert_count', 0) > 0)
    throw metadata.error('llama.expert_count', 'must be 0: mixtures of experts are not supported')
  const heads = size('attention.head_count')
  const hiddenSize = size('embedding_length')
  const keyValueHeads = size('attention.head_count_kv', heads)
  if (heads % keyValueHeads !== 0)
    throw metadata.error('llama.attention.head_count_kv', `must divide the ${heads} heads`)
  const headSize = size('attention.key_length', hiddenSize % heads === 0 ? hiddenSize / heads : undefined)
  if (headSize % 2 !== 0) throw new FormatError(`${file.name}: the head size must be even; it is ${headSize}`)
  for (const key of ['llama.attention.value_length', 'llama.rope.dimension_count']) {
    if (metadata.positiveInteger(key, headSize) !== headSize)
      throw metadata.error(key, `must be the head size (${headSize})`)
  }
  const ropeTheta = metadata.positive('llama.rope.freq_base', 10000)
  const config: LlamaLikeConfig = {
    hiddenSize,
    intermediateSize: size('feed_forward_length'),
    layers: size('block_count'),
    heads,
    keyValueHeads,
    headSize,
    vocabularySize: size('vocab_size', tensors.get('token_embd.weight')?.shape[0]),
    maxPositions: size('context_length'),
    normEpsilon: metadata.positive('llama.attention.layer_norm_rms_epsilon'),
    ropeTheta,
    ropeScaling: ropeScaling(
      file,
      { headSize, theta: ropeTheta, maxPositions: size('context_length') },
      ropeFactors,
    ),
    tieWordEmbeddings: !tensors.has('output.weight') && !file.unsupported.has('output.weight'),
    biases: {
      qkv: tensors.has('blk.0.attn_q.bias'),
      output: tensors.has('blk.0.attn_q.bias'),
      mlp: tensors.has('blk.0.ffn_gate.bias'),
    },
    eosTokenIds: [],
  }
  const named = ['eos', 'eot', 'eom'].flatMap(
    (name) => ggufTokenId(metadata, name, config.vocabularySize, warn) ?? [],
  )
  const found = endOfTurnIds(metadata).filter((id) => id < config.vocabularySize)
  config.eosTokenIds = [...new Set([...named, ...found])]
  return config
}

interface RopeSizes {
  headSize: number
  theta: number
  maxPositions: number
}

function ropeScaling(
  { metadata, name }: GgufFile,
  sizes: RopeSizes,
  factors: readonly number[] | null,
): RopeScaling {
  const { headSize, theta, maxPositions } = sizes
  const type = metadata.string(
    'llama.rope.scaling.type',
    metadata.has('llama.rope.scale_linear') ? 'linear' : 'none',
  )
  if (type !== 'none' && type !== 'linear')
    throw metadata.error('llama.rope.scaling.type', 'must be "none" or "linear"')
  if (type === 'linear') {
    // The older key of the two.
    const factor = metadata.positive(
      'llama.rope.scaling.factor',
      metadata.positive('llama.rope.scale_linear', 1),
    )
    if (factor !== 1 && factors)
      throw new FormatError(
        `${name}: positions must be scaled by a factor or by rope_freqs.weight; they are by both`,
      )
    if (factor !== 1) return { type, factor }
  }
  if (!factors) return { type: 'default' }
  if (factors.length !== headSize / 2 || !factors.every((factor) => Number.isFinite(factor) && factor > 0)) {
    throw new FormatError(
      `${name}: rope_freqs.weight must hold ${headSize / 2} numbers above 0; received ${factors.length}: ${show(factors)}`,
      {
        tensor: 'rope_freqs.weight',
      },
    )
  }
  const same = {
    shortFactors: factors,
    longFactors: factors,
    originalMaxPositions: maxPositions,
    attentionFactor: 1,
  }
  return llama3Scaling(headSize, theta, factors) ?? { type: 'longrope', ...same }
}

/** Llama 3.1 to 3.3 differ in the first number only. */
const llama3 = { lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 8192 }

/**
 * The rule of Llama 3 if the factors are what it gives: a config.json can say that, but no list of factors.
 */
function llama3Scaling(headSize: number, theta: number, factors: readonly number[]): RopeScaling | null {
  const rule: RopeScaling = { type: 'llama3', factor: Math.max(...factors), ...llama3 }
  const plain = inverseFrequencies({ size: headSize, theta, scaling: { type: 'default' } })
  const scaled = inverseFrequencies({ size: headSize, theta, scaling: rule })
  return factors.every((factor, i) => Math.abs((factor * scaled[i]) / plain[i] - 1) < 1e-5) ? rule : null
}

/** config.json as transformers would write it. */
export function huggingFaceConfig(file: GgufFile, config: LlamaLikeConfig): Record<string, unknown> {
  const id = (name: string) => ggufTokenId(file.metadata, name, config.vocabularySize)
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    head_dim: config.headSize,
    vocab_size: config.vocabularySize,
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.normEpsilon,
    rope_theta: config.ropeTheta,
    rope_scaling: huggingFaceScaling(config),
    hidden_act: 'silu',
    tie_word_embeddings: config.tieWordEmbeddings,
    attention_bias: config.biases.qkv,
    mlp_bias: config.biases.mlp,
    bos_token_id: id('bos'),
    eos_token_id: id('eos'),
    pad_token_id: id('padding'),
    torch_dtype: 'float32',
    use_cache: true,
  }
}

function huggingFaceScaling({ ropeScaling: scaling }: LlamaLikeConfig): Record<string, unknown> | null {
  if (scaling.type === 'default' || scaling.type === 'dynamic' || scaling.type === 'yarn') return null
  if (scaling.type === 'linear') return { rope_type: 'linear', factor: scaling.factor }
  if (scaling.type === 'llama3') {
    return {
      rope_type: 'llama3',
      factor: scaling.factor,
      low_freq_factor: scaling.lowFrequencyFactor,
      high_freq_factor: scaling.highFrequencyFactor,
      original_max_position_embeddings: scaling.originalMaxPositions,
    }
  }
  return {
    rope_type: 'longrope',
    short_factor: scaling.shortFactors,
    long_factor: scaling.longFactors,
    attention_factor: scaling.attentionFactor,
    original_max_position_embeddings: scaling.originalMaxPositions,
  }
}
