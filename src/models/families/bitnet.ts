import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { type ActivationName, activations } from '../../nn/activations.ts'
import { Block } from '../../nn/block.ts'
import type { LinearLike, NormLike } from '../../nn/layerLike.ts'
import { Linear } from '../../nn/linear.ts'
import { gated } from '../../nn/mlp.ts'
import { RMSNorm } from '../../nn/rmsNorm.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import type { Warn } from './fields.ts'
import { isNull } from './fields.ts'
import { type LlamaLikeConfig, llamaLikeNames, parseLlamaLike } from './llamaLike.ts'
import { type LlamaLikeForm, llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * BitNet b1.58: Llama with norms within attention and MLP, before their last projections, and squared ReLU.
 * Its ternary weights are those of the scheme of the same name.
 * Source: Ma et al., "BitNet b1.58 2B4T Technical Report", 2025; transformers, modeling_bitnet.py.
 */

/** y = down(norm(activation(gate(x)) · up(x))). */
class BitNetMLP extends Block<'gate' | 'up' | 'down' | 'norm'> {
  declare readonly gate: LinearLike
  declare readonly up: LinearLike
  declare readonly down: LinearLike
  declare readonly norm: NormLike
  private readonly activation: ActivationName

  constructor({ hiddenSize, intermediateSize, normEpsilon, activation }: LlamaLikeConfig, dtype: FloatDType) {
    super({
      type: 'BitNetMLP',
      parts: { gate: 'gate_proj', up: 'up_proj', down: 'down_proj', norm: 'ffn_sub_norm' },
    })
    const options = { bias: false, dtype }
    Object.assign(this, {
      gate: new Linear(hiddenSize, intermediateSize, options),
      up: new Linear(hiddenSize, intermediateSize, options),
      down: new Linear(intermediateSize, hiddenSize, options),
      norm: new RMSNorm(intermediateSize, normEpsilon, { dtype }),
    })
    this.activation = activation
  }

  override get sameInput(): readonly ('gate' | 'up')[] {
    return ['gate', 'up']
  }

  /** x [..., hidden] → [..., hidden] */
  forward(x: Tensor): Tensor {
    const y = gated(activations[this.activation], this.gate.forward(x), this.up.forward(x))
    return this.down.forward(this.norm.forward(y))
  }
}

const form: LlamaLikeForm = {
  headsNorm: {
    name: 'attn_sub_norm',
    norm: ({ hiddenSize, normEpsilon }, dtype) => new RMSNorm(hiddenSize, normEpsilon, { dtype }),
  },
  mlp: (config, _, dtype) => new BitNetMLP(config, dtype),
}

/** BitNet with its language-model head: token ids → logits. */
export class BitNetForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('BitNet', form), 'model')
  }
}

/** The config of BitNet from its config.json; see `Family.parse`. */
export function parseBitNetConfig(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  const bias = json.boolean('attention_bias', false)
  const config = parseLlamaLike(json, warn, {
    keyValueHeads: isNull(json, 'num_key_value_heads') ? undefined : 5,
    maxPositions: 2048,
    epsilon: ['rms_norm_eps', 1e-5],
    activation: ['hidden_act', 'relu2', 'silu', 'gelu', 'relu'],
    rope: { theta: 500000 },
    biases: { qkv: bias, output: bias, mlp: false },
  })
  const { heads, headSize, hiddenSize } = config
  if (heads * headSize !== hiddenSize)
    throw json.error('head_dim', `must be hidden_size / num_attention_heads (${hiddenSize / heads})`)
  return config
}

export const bitnet: Family<LlamaLikeConfig> = {
  architectures: ['BitNetForCausalLM'],
  modelTypes: ['bitnet'],
  parse: parseBitNetConfig,
  build: (config) => new BitNetForCausalLM(config),
  names: llamaLikeNames,
}
