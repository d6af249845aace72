import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { sizeField, type Warn } from './fields.ts'
import { checkGguf } from './ggufKeys.ts'
import {
  type LlamaLikeConfig,
  layerWindow,
  llamaLikeGguf,
  llamaLikeNames,
  parseLlamaLike,
} from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * SmolLM3: Llama of which every fourth layer turns nothing by its position.
 * Source: Yang et al., "RoPE to NoPE and Back Again", 2025; transformers, modeling_smollm3.py.
 */

/** SmolLM3 with its language-model head: token ids → logits. */
export class SmolLM3ForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('SmolLM3'), 'model')
  }
}

/** The config of SmolLM3 from its config.json; see `Family.parse`. */
export function parseSmolLM3Config(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  const attention = json.boolean('attention_bias', false)
  const slides = json.boolean('use_sliding_window', false) && json.has('sliding_window')
  const layers = sizeField(json, 'num_hidden_layers')
  const turns = turningLayers(json, layers)
  const config = parseLlamaLike(json, warn, {
    keyValueHeads: 4,
    maxPositions: 32768,
    rope: { theta: 2_000_000 },
    tieWordEmbeddings: true,
    biases: { qkv: attention, output: attention, mlp: json.boolean('mlp_bias', false) },
    window: layerWindow(json, slides ? sizeField(json, 'sliding_window') : null, (layer) => !turns[layer]),
  })
  return { ...config, layerRotary: turns.map((turned) => (turned ? 'rotary' : null)) }
}

/** Of each layer, whether it turns queries and keys: as `no_rope_layers` lists it with ones. */
function turningLayers(json: JsonObject, layers: number): boolean[] {
  const interval = json.positiveInteger('no_rope_layer_interval', 4)
  const usual = Array.from({ length: layers }, (_, layer) => ((layer + 1) % interval === 0 ? 0 : 1))
  const listed = json.counts('no_rope_layers', usual)
  if (listed.length < layers)
    throw json.error('no_rope_layers', `must have an entry for each layer (${layers})`)
  return listed.slice(0, layers).map((turned) => turned !== 0)
}

/** Which layers turn nothing in llama.cpp, whatever a file says. */
const ggufInterval = 4

export const smollm3: Family<LlamaLikeConfig> = {
  architectures: ['SmolLM3ForCausalLM'],
  modelTypes: ['smollm3'],
  parse: parseSmolLM3Config,
  build: (config) => new SmolLM3ForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...llamaLikeGguf,
    architecture: 'smollm3',
    otherFields: (has) => ({
      no_rope_layer_interval: ggufInterval,
      attention_bias: has('blk.0.attn_q.bias'),
      mlp_bias: has('blk.0.ffn_gate.bias'),
    }),
    keys(config) {
      checkGguf('SmolLM3', {
        [`turn nothing in each layer of a number that ${ggufInterval} divides, and in no other`]:
          !!config.layerRotary?.every(
            (name, layer) => (name === null) === ((layer + 1) % ggufInterval === 0),
          ),
        'have layers that see all tokens': config.windows.every((window) => window === null),
      })
      return llamaLikeGguf.keys(config)
    },
    paired: { q_proj: 'heads', k_proj: 'keyValueHeads' },
  },
}
