import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { type ActivationName, activations } from '../../nn/activations.ts'
import { Attention } from '../../nn/attention.ts'
import { DecoderLayer } from '../../nn/decoderLayer.ts'
import { Embedding } from '../../nn/embedding.ts'
import { Linear } from '../../nn/linear.ts'
import { MLP } from '../../nn/mlp.ts'
import { LayerNorm } from '../../nn/normalization.ts'
import type { CausalLMConfig } from '../causalLM.ts'
import { Decoder } from '../decoder.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { activationField, headSizeOf, positiveField, sizeField, tokenIdsField, type Warn } from './fields.ts'

/*
 * GPT-Neo: GPT-2 with layers that take turns to see all tokens and a window of the last, and with scores that
 * are not scaled.
 * Source: Black et al., "GPT-Neo", 2021; transformers, modeling_gpt_neo.py.
 */

/** What a GPT-Neo checkpoint's config.json says, in this library's names. */
export interface GptNeoConfig extends CausalLMConfig {
  intermediateSize: number
  normEpsilon: number
  activation: ActivationName
  /** Tokens that each sees in a layer, itself the last of them; null where it sees all. */
  windows: readonly (number | null)[]
}

/** The config of GPT-Neo from its config.json; see `Family.parse`. */
export function parseGptNeoConfig(json: JsonObject, warn: Warn = () => {}): GptNeoConfig {
  const hiddenSize = sizeField(json, 'hidden_size')
  const heads = sizeField(json, 'num_heads')
  const vocabularySize = sizeField(json, 'vocab_size')
  const layers = sizeField(json, 'num_layers')
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'intermediate_size', 4 * hiddenSize),
    layers,
    heads,
    keyValueHeads: heads,
    headSize: headSizeOf(json, 'num_heads', hiddenSize, heads),
    vocabularySize,
    maxPositions: sizeField(json, 'max_position_embeddings', 2048),
    normEpsilon: positiveField(json, 'layer_norm_epsilon', 1e-5),
    activation: activationField(json, 'activation_function', 'gelu_new'),
    windows: windowsOf(json, layers),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', true),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

/** The window of each layer, as `attention_types` lists them: `[[["global", "local"], 12]]`. */
function windowsOf(json: JsonObject, layers: number): (number | null)[] {
  const window = sizeField(json, 'window_size', 256)
  const types: unknown = json.get('attention_types') ?? [[['global', 'local'], 12]]
  const rule = `must say global or local for each of the ${layers} layers, as [[["global", "local"], ${layers / 2}]]`
  const isRun = (run: unknown): run is [string[], number] =>
    Array.isArray(run) &&
    Array.isArray(run[0]) &&
    run[0].every((type) => type === 'global' || type === 'local') &&
    Number.isInteger(run[1]) &&
    run[1] > 0 &&
    run[0].length * run[1] <= layers
  if (!Array.isArray(types) || !types.every(isRun)) throw json.error('attention_types', rule)
  const listed = types.flatMap(([names, count]) => Array.from({ length: count }, () => names).flat())
  if (listed.length !== layers) throw json.error('attention_types', rule)
  return listed.map((type) => (type === 'local' ? window : null))
}

/** GPT-Neo with its language-model head: token ids → logits. */
export class GPTNeoForCausalLM extends DecoderLM<GptNeoConfig> {
  constructor(config: GptNeoConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, decoderOf, 'transformer')
  }
}

function decoderOf(config: GptNeoConfig, dtype: FloatDType): Decoder {
  const { hiddenSize, normEpsilon: eps } = config
  const norm = () => new LayerNorm(hiddenSize, { eps, dtype })
  const layer = (_: unknown, index: number) =>
    new DecoderLayer(
      {
        attentionNorm: norm(),
        attention: attentionOf(config, index, dtype),
        mlpNorm: norm(),
        mlp: mlpOf(config, dtype),
      },
      // transformers has a module around the attention, which holds nothing else.
      {
        type: 'GPTNeoBlock',
        parts: { attentionNorm: 'ln_1', attention: 'attn.attention', mlpNorm: 'ln_2' },
      },
    )
  return new Decoder(
    {
      embedding: new Embedding(config.vocabularySize, hiddenSize, { dtype }),
      positions: new Embedding(config.maxPositions, hiddenSize, { dtype }),
      layers: Array.from({ length: config.layers }, layer),
      norm: norm(),
    },
    { type: 'GPTNeoModel', parts: { embedding: 'wte', positions: 'wpe', layers: 'h', norm: 'ln_f' } },
  )
}

function attentionOf(config: GptNeoConfig, layer: number, dtype: FloatDType): Attention {
  const { hiddenSize, heads, headSize, windows } = config
  const projection = (bias: boolean) => new Linear(hiddenSize, hiddenSize, { bias, dtype })
  return new Attention(
    { k: projection(false), v: projection(false), q: projection(false), output: projection(true) },
    { layer, heads, keyValueHeads: heads, headSize, scale: 1, window: windows[layer] ?? undefined },
    {
      type: 'GPTNeoSelfAttention',
      parts: { q: 'q_proj', k: 'k_proj', v: 'v_proj', output: 'out_proj' },
    },
  )
}

function mlpOf({ hiddenSize, intermediateSize, activation }: GptNeoConfig, dtype: FloatDType): MLP {
  return new MLP(
    {
      up: new Linear(hiddenSize, intermediateSize, { dtype }),
      down: new Linear(intermediateSize, hiddenSize, { dtype }),
    },
    activations[activation],
    { type: 'GPTNeoMLP', parts: { up: 'c_fc', down: 'c_proj' } },
  )
}

export const gptNeo: Family<GptNeoConfig> = {
  architectures: ['GPTNeoForCausalLM'],
  modelTypes: ['gpt_neo'],
  parse: parseGptNeoConfig,
  build: (config) => new GPTNeoForCausalLM(config),
  names: {
    aliases: (path) => [path.replace(/^transformer\./, '')],
    // The causal mask, which older checkpoints carry.
    extras: /\.attn\.attention\.(masked_)?bias$/,
  },
}
