import type { FloatDType } from '../../core/dtype.ts'
import { activations } from '../../nn/activations.ts'
import { Attention } from '../../nn/attention.ts'
import { DecoderLayer, type DecoderLayerOptions } from '../../nn/decoderLayer.ts'
import { Embedding } from '../../nn/embedding.ts'
import type { MLPLike, NormLike } from '../../nn/layerLike.ts'
import { Linear } from '../../nn/linear.ts'
import { GatedMLP } from '../../nn/mlp.ts'
import { RMSNorm } from '../../nn/rmsNorm.ts'
import { RotaryEmbedding } from '../../nn/rotary.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { Decoder } from '../decoder.ts'
import type { LlamaLikeConfig } from './llamaLike.ts'

type LayerNorms = 'attentionNorm' | 'mlpNorm' | 'attentionOutputNorm' | 'mlpOutputNorm'

/** In what the blocks of a family differ from Llama's. */
export interface LlamaLikeForm<C extends LlamaLikeConfig = LlamaLikeConfig> {
  /** A norm of rows of `size` values; default RMSNorm. */
  norm?(config: C, size: number, dtype: FloatDType): NormLike
  /** The norms of a layer and what paths call them, in their order; default those before attention and MLP. */
  norms?(config: C): Readonly<Partial<Record<LayerNorms, string>>>
  /** How a layer puts its parts together; default norms before. */
  form?(config: C): DecoderLayerOptions['form']
  /** What normalizes the queries or keys of `heads` heads, and what paths call the two; default nothing. */
  headNorms?: {
    names: [q: string, k: string]
    wholeRows?: boolean
    norm(config: C, heads: number, dtype: FloatDType): NormLike | undefined
  }
  /** What normalizes what all heads give, and what paths call it; default nothing. */
  headsNorm?: { name: string; norm(config: C, dtype: FloatDType): NormLike }
  /** Whether attention has sinks; default false. */
  sinks?: boolean
  /** Whether one layer projects to queries, keys and values, and one to gate and values; default false. */
  fused?: boolean
  /** The MLP of a layer; default a gated one. */
  mlp?(config: C, layer: number, dtype: FloatDType): MLPLike
  /** What paths call it; default `mlp`. */
  mlpName?: string
}

/**
 * Makes the decoder of such a model.
 * @param family what the names of its classes begin with
 */
export function llamaLikeDecoder<C extends LlamaLikeConfig>(family: string, form: LlamaLikeForm<C> = {}) {
  return (config: C, dtype: FloatDType): Decoder => {
    const { hiddenSize, localRope } = config
    const norm = (size: number) =>
      form.norm?.(config, size, dtype) ?? new RMSNorm(size, config.normEpsilon, { dtype })
    const layer = (_: unknown, index: number) => layerOf(family, config, form, norm, index, dtype)
    const rotary = (options: LlamaLikeConfig['rope']) =>
      new RotaryEmbedding(options, `${family}RotaryEmbedding`)
    return new Decoder(
      {
        embedding: new Embedding(config.vocabularySize, hiddenSize, { dtype }),
        layers: Array.from({ length: config.layers }, layer),
        norm: norm(hiddenSize),
        rotary: rotary(config.rope),
        ...(localRope && { localRotary: rotary(localRope) }),
      },
      {
        type: `${family}Model`,
        parts: { embedding: 'embed_tokens', rotary: 'rotary_emb', localRotary: 'rotary_emb_local' },
      },
      config,
    )
  }
}

const defaultNorms = { attentionNorm: 'input_layernorm', mlpNorm: 'post_attention_layernorm' }

function layerOf<C extends LlamaLikeConfig>(
  family: string,
  config: C,
  form: LlamaLikeForm<C>,
  norm: (size: number) => NormLike,
  index: number,
  dtype: FloatDType,
): DecoderLayer {
  const norms = form.norms?.(config) ?? defaultNorms
  const made = Object.keys(norms).map((part) => [part, norm(config.hiddenSize)])
  return new DecoderLayer(
    {
      attention: attentionOf(family, config, form, index, dtype),
      mlp: form.mlp?.(config, index, dtype) ?? gatedMLP(family, config, dtype, form.fused),
      ...(Object.fromEntries(made) as Partial<Record<LayerNorms, NormLike>>),
    },
    {
      type: `${family}DecoderLayer`,
      parts: { attention: 'self_attn', mlp: form.mlpName ?? 'mlp', ...norms },
    },
    { form: form.form?.(config), residualMultiplier: config.residualMultiplier },
  )
}

function attentionOf<C extends LlamaLikeConfig>(
  family: string,
  config: C,
  { headNorms, headsNorm, sinks, fused }: LlamaLikeForm<C>,
  layer: number,
  dtype: FloatDType,
): Attention {
  const { hiddenSize, heads, keyValueHeads, headSize, biases } = config
  const projection = (count: number) => new Linear(hiddenSize, count * headSize, { bias: biases.qkv, dtype })
  const output = new Linear(heads * headSize, hiddenSize, { bias: biases.output, dtype })
  const [qNorm, kNorm] = [heads, keyValueHeads].map((count) => headNorms?.norm(config, count, dtype))
  const [qName, kName] = headNorms?.names ?? []
  return new Attention(
    {
      ...(fused
        ? { qkv: projection(heads + 2 * keyValueHeads), output }
        : { q: projection(heads), k: projection(keyValueHeads), v: projection(keyValueHeads), output }),
      ...(qNorm && kNorm && { qNorm, kNorm }),
      ...(headsNorm && { headsNorm: headsNorm.norm(config, dtype) }),
      ...(sinks && { sinks: Tensor.meta([heads], dtype) }),
    },
    {
      layer,
      heads,
      keyValueHeads,
      headSize,
      scale: config.attentionScale,
      window: config.windows[layer] ?? undefined,
      softcap: config.attentionSoftcap,
      normsWholeRows: headNorms?.wholeRows,
    },
    {
      type: `${family}Attention`,
      parts: {
        q: 'q_proj',
        k: 'k_proj',
        v: 'v_proj',
        qkv: 'qkv_proj',
        output: 'o_proj',
        ...(qName && kName && { qNorm: qName, kNorm: kName }),
        ...(headsNorm && { headsNorm: headsNorm.name }),
      },
    },
  )
}

/** Norms of the queries and the keys of each head, the same weights for all heads. */
export const headRMSNorms: NonNullable<LlamaLikeForm['headNorms']> = {
  names: ['q_norm', 'k_norm'],
  norm: ({ headSize, normEpsilon }, _heads, dtype) => new RMSNorm(headSize, normEpsilon, { dtype }),
}

/** A gated MLP with Llama's names. */
export function gatedMLP(
  family: string,
  config: Pick<LlamaLikeConfig, 'hiddenSize' | 'intermediateSize' | 'biases' | 'activation'>,
  dtype: FloatDType,
  fused = false,
): GatedMLP {
  const { hiddenSize, intermediateSize, biases } = config
  const options = { bias: biases.mlp, dtype }
  const up = (count: number) => new Linear(hiddenSize, count * intermediateSize, options)
  const down = () => new Linear(intermediateSize, hiddenSize, options)
  return new GatedMLP(
    fused ? { gateUp: up(2), down: down() } : { gate: up(1), up: up(1), down: down() },
    {
      type: `${family}MLP`,
      parts: { gate: 'gate_proj', up: 'up_proj', gateUp: 'gate_up_proj', down: 'down_proj' },
    },
    activations[config.activation],
  )
}
