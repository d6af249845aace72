import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { JsonObject } from '../../src/formats/json.ts'
import { emptyModel, familyOf } from '../../src/models/families/index.ts'
import type { LlamaLikeConfig } from '../../src/models/families/llamaLike.ts'

/** The config of a model, as families parse it. */
const parse = (fields: object) =>
  emptyModel(new JsonObject(fields, 'config.json')).config as unknown as LlamaLikeConfig

const sizes = { vocab_size: 64, hidden_size: 64, intermediate_size: 96, num_attention_heads: 4 }

/*
 * Files as their makers published them, sizes aside; older ones than those that transformers writes now.
 */
describe('published config.json files', () => {
  test('Gemma, which says gelu and means its approximation', () => {
    const config = parse({
      ...sizes,
      architectures: ['GemmaForCausalLM'],
      head_dim: 256,
      hidden_act: 'gelu',
      hidden_activation: null,
      num_hidden_layers: 18,
      num_key_value_heads: 1,
      rms_norm_eps: 1e-6,
      rope_scaling: null,
      rope_theta: 10000,
    })
    assert.equal(config.activation, 'gelu_pytorch_tanh')
    assert.equal(config.embeddingScale, 8)
    assert.equal(config.headSize, 256)
    assert.ok(config.tieWordEmbeddings)
  })

  test('Gemma 2: every other layer has a window, the first one, too', () => {
    const config = parse({
      ...sizes,
      architectures: ['Gemma2ForCausalLM'],
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
      hidden_activation: 'gelu_pytorch_tanh',
      num_hidden_layers: 3,
      num_key_value_heads: 2,
      query_pre_attn_scalar: 144,
      sliding_window: 4096,
    })
    assert.deepEqual(config.windows, [4096, null, 4096])
    assert.equal(config.attentionScale, 1 / 12)
    assert.deepEqual([config.attentionSoftcap, config.finalSoftcap], [50, 30])
    const without = parse({
      ...sizes,
      architectures: ['Gemma2ForCausalLM'],
      attn_logit_softcapping: null,
      final_logit_softcapping: null,
      num_hidden_layers: 3,
      sliding_window: null,
    })
    assert.deepEqual([without.attentionSoftcap, without.finalSoftcap], [undefined, undefined])
    assert.deepEqual(without.windows, [null, null, null])
  })

  test('Gemma 3: fields of two ropes beside each other', () => {
    const config = parse({
      ...sizes,
      architectures: ['Gemma3ForCausalLM'],
      attn_logit_softcapping: null,
      final_logit_softcapping: null,
      head_dim: 16,
      num_hidden_layers: 7,
      num_key_value_heads: 2,
      query_pre_attn_scalar: 256,
      rope_local_base_freq: 10000,
      rope_scaling: { factor: 8, rope_type: 'linear' },
      rope_theta: 1000000,
      sliding_window: 512,
      sliding_window_pattern: 6,
    })
    assert.deepEqual(config.windows, [512, 512, 512, 512, 512, null, 512])
    assert.deepEqual(
      config.layerRotary?.map((name) => name === 'rotary'),
      [false, false, false, false, false, true, false],
    )
    assert.deepEqual(config.rope, { size: 16, theta: 1e6, scaling: { type: 'linear', factor: 8 } })
    assert.deepEqual(config.localRope, { size: 16, theta: 1e4, scaling: { type: 'default' } })
  })

  test('Phi-3 of the first months, whose rope is of type su', () => {
    const factors = Array.from({ length: 8 }, (_, i) => 1 + i)
    const { rope } = parse({
      ...sizes,
      architectures: ['Phi3ForCausalLM'],
      max_position_embeddings: 131072,
      num_hidden_layers: 2,
      original_max_position_embeddings: 4096,
      rope_scaling: { long_factor: factors, short_factor: factors, type: 'su' },
      rope_theta: 10000,
      sliding_window: 262144,
    })
    assert.equal(rope.scaling.type, 'longrope')
    // √(1 + ln 32 / ln 4096)
    assert.ok(
      'attentionFactor' in rope.scaling &&
        Math.abs(rope.scaling.attentionFactor - 1.1902380714238083) < 1e-12,
    )
  })

  /* Which field wins where two say the same: what transformers 5.23 makes of these configs. */
  test('Gemma 3: the base of layers with a window is never that of the others', () => {
    const fields = { ...sizes, architectures: ['Gemma3ForCausalLM'], head_dim: 16, num_hidden_layers: 2 }
    const parts = (full_attention: object, sliding_attention: object | null) => ({
      rope_parameters: { full_attention, sliding_attention },
    })
    const bases = (more: object) => {
      const { rope, localRope } = parse({ ...fields, rope_theta: 5e5, ...more })
      return [rope.theta, localRope?.theta]
    }
    assert.deepEqual(bases({}), [5e5, 1e4])
    assert.deepEqual(bases(parts({ rope_type: 'default' }, { rope_type: 'default' })), [5e5, 1e4])
    assert.deepEqual(bases({ rope_local_base_freq: 7e3, ...parts({}, null) }), [5e5, 7e3])
    const both = parse({
      ...fields,
      rope_scaling: { rope_type: 'linear', factor: 8 },
      ...parts({ rope_type: 'default', rope_theta: 3e5 }, { rope_type: 'default', rope_theta: 9e3 }),
    })
    assert.deepEqual(both.rope, { size: 16, theta: 3e5, scaling: { type: 'linear', factor: 8 } })
    assert.equal(both.localRope?.theta, 9e3)
  })

  test('Llama: rope_scaling wins over rope_parameters, unless it is empty', () => {
    const rope = (rope_scaling: object) =>
      parse({
        ...sizes,
        architectures: ['LlamaForCausalLM'],
        num_hidden_layers: 2,
        max_position_embeddings: 2048,
        rope_theta: 5e5,
        rope_scaling,
        rope_parameters: { rope_type: 'dynamic', factor: 2, rope_theta: 3e4 },
      }).rope
    const linear = { type: 'linear', factor: 8 }
    assert.deepEqual(rope(linear), { size: 16, theta: 5e5, scaling: linear })
    const dynamic = { type: 'dynamic', factor: 2, maxPositions: 2048 }
    assert.deepEqual(rope({}), { size: 16, theta: 3e4, scaling: dynamic })
  })

  test('Phi-3: positions that are scaled were 4096 where nothing beside them says otherwise', () => {
    const factors = Array.from({ length: 8 }, (_, i) => 1 + i)
    for (const more of [{}, { original_max_position_embeddings: 8192 }]) {
      const { rope } = parse({
        ...sizes,
        architectures: ['Phi3ForCausalLM'],
        max_position_embeddings: 131072,
        num_hidden_layers: 2,
        rope_scaling: { type: 'longrope', long_factor: factors, short_factor: factors, ...more },
      })
      assert.ok('originalMaxPositions' in rope.scaling)
      assert.equal(rope.scaling.originalMaxPositions, 4096)
    }
  })

  test('SmolLM3: the layers that turn nothing, listed and not', () => {
    const fields = { ...sizes, architectures: ['SmolLM3ForCausalLM'], num_hidden_layers: 5 }
    const turned = (more: object) => parse({ ...fields, ...more }).layerRotary?.map((name) => name !== null)
    assert.deepEqual(turned({}), [true, true, true, false, true])
    assert.deepEqual(turned({ no_rope_layer_interval: 2 }), [true, false, true, false, true])
    assert.deepEqual(turned({ no_rope_layers: [0, 1, 1, 0, 0] }), [false, true, true, false, false])
    assert.equal(parse(fields).rope.theta, 2e6)
  })

  test('Command R and Command R7B', () => {
    const r = parse({
      ...sizes,
      architectures: ['CohereForCausalLM'],
      layer_norm_eps: 1e-5,
      logit_scale: 0.0625,
      model_max_length: 131072,
      num_hidden_layers: 2,
      rope_theta: 8000000,
      use_qk_norm: false,
    })
    assert.deepEqual([r.logitScale, r.rope.theta, r.rope.interleaved], [0.0625, 8e6, true])
    const r7b = parse({
      ...sizes,
      architectures: ['Cohere2ForCausalLM'],
      logit_scale: 0.25,
      num_hidden_layers: 5,
      rope_theta: 50000,
      rotary_pct: 1,
      sliding_window: 4096,
      sliding_window_pattern: 4,
    })
    assert.deepEqual(r7b.windows, [4096, 4096, 4096, null, 4096])
    assert.deepEqual(r7b.layerRotary, ['rotary', 'rotary', 'rotary', null, 'rotary'])
  })

  test('Qwen3, StableLM, OLMo 2 and Granite: what they leave out', () => {
    const layers = { ...sizes, num_hidden_layers: 2 }
    const qwen3 = parse({ ...layers, architectures: ['Qwen3ForCausalLM'], num_key_value_heads: 2 })
    assert.deepEqual([qwen3.headSize, qwen3.windows], [128, [null, null]])
    const stablelm = parse({ ...layers, architectures: ['StableLmForCausalLM'], num_key_value_heads: 4 })
    assert.deepEqual([stablelm.rope.size, stablelm.normEpsilon], [4, 1e-5])
    assert.equal(parse({ ...layers, architectures: ['Olmo2ForCausalLM'] }).normEpsilon, 1e-5)
    const granite = parse({
      ...layers,
      architectures: ['GraniteForCausalLM'],
      attention_multiplier: 0.015625,
      embedding_multiplier: 12,
      logits_scaling: 8,
      residual_multiplier: 0.22,
    })
    assert.deepEqual(
      [granite.attentionScale, granite.embeddingScale, granite.logitScale, granite.residualMultiplier],
      [0.015625, 12, 0.125, 0.22],
    )
  })
})

describe('what a family does not do is refused by name', () => {
  const golden = join(import.meta.dirname, '../golden/models')
  const cases: [family: string, fields: object, message: RegExp][] = [
    ['qwen3', { hidden_act: 'gelu' }, /hidden_act must be "silu"; received "gelu"/],
    ['qwen3', { layer_types: ['full_attention', 'linear_attention'] }, /layer_types must have .* layer 1/],
    ['qwen3', { rope_parameters: { rope_type: 'mrope' } }, /rope_type must be one of default, linear/],
    ['gemma', { hidden_act: 'relu' }, /hidden_act must be gelu_pytorch_tanh, gelu; received "relu"/],
    ['gemma', { hidden_activation: 'silu' }, /hidden_activation must be "gelu_pytorch_tanh"/],
    ['gemma', { use_bidirectional_attention: true }, /use_bidirectional_attention must be false/],
    ['gemma2', { hidden_activation: 'silu' }, /hidden_activation must be "gelu_pytorch_tanh"/],
    ['gemma2', { attn_logit_softcapping: 0 }, /attn_logit_softcapping must be above 0/],
    ['gemma2', { query_pre_attn_scalar: -1 }, /query_pre_attn_scalar must be above 0/],
    ['gemma3', { attn_logit_softcapping: 50 }, /attn_logit_softcapping must be null/],
    ['gemma3', { sliding_window: null }, /sliding_window must be a size/],
    ['gemma3', { use_bidirectional_attention: true }, /use_bidirectional_attention must be false/],
    ['phi3', { rope_parameters: { rope_type: 'linear', factor: 2 } }, /must be of type default or longrope/],
    ['phi3', { rope_parameters: { partial_rotary_factor: 0.4 } }, /must leave an even number of the 8/],
    ['phi3', { hidden_act: 'gelu' }, /hidden_act must be "silu"/],
    ['smollm3', { no_rope_layers: [1] }, /no_rope_layers must have an entry for each layer \(2\)/],
    ['smollm3', { no_rope_layer_interval: 0 }, /no_rope_layer_interval must be a positive integer/],
    ['smollm3', { layer_types: ['sliding_attention'] }, /layer_types must have "full_attention"/],
    ['olmo2', { rope_parameters: { partial_rotary_factor: 0.5 } }, /partial_rotary_factor must be 1/],
    ['granite', { residual_multiplier: 0 }, /residual_multiplier must be above 0/],
    ['granite', { logits_scaling: 'x' }, /logits_scaling must be a finite number/],
    ['cohere', { hidden_act: 'gelu' }, /hidden_act must be "silu"/],
    ['cohere', { logit_scale: 0 }, /logit_scale must be above 0/],
    ['cohere2', { sliding_window: null }, /sliding_window must be a size/],
    ['stablelm', { hidden_act: 'relu' }, /hidden_act must be "silu"/],
    ['stablelm', { num_key_value_heads: 3 }, /num_key_value_heads must divide num_attention_heads \(4\)/],
  ]
  for (const [family, fields, message] of cases)
    test(`${family}: ${JSON.stringify(fields)}`, () => {
      const written = JSON.parse(readFileSync(join(golden, family, 'config.json'), 'utf8'))
      assert.doesNotThrow(() => parse(written))
      assert.throws(() => parse({ ...written, ...fields }), { name: 'FormatError', message })
    })
})

describe('what a GGUF file cannot say, since llama.cpp takes it for granted', () => {
  const golden = join(import.meta.dirname, '../golden/models')
  const cases: [family: string, fields: object, message: RegExp][] = [
    ['qwen3', {}, /llama\.cpp's Qwen3 must have layers that see all tokens/],
    ['qwen3', { use_sliding_window: false, layer_types: null, attention_bias: true }, /must have no biases/],
    ['gemma', { tie_word_embeddings: false }, /Gemma must share the weight of embedding and head/],
    ['gemma2', {}, /Gemma 2 must scale scores by the size of its heads/],
    ['gemma2', { query_pre_attn_scalar: 16, final_logit_softcapping: null }, /must bound scores and logits/],
    [
      'gemma3',
      {
        query_pre_attn_scalar: 8,
        num_hidden_layers: 4,
        layer_types: ['full_attention', ...slidingLayers(3)],
      },
      /must have layers with one window/,
    ],
    ['smollm3', {}, /SmolLM3 must turn nothing in each layer of a number that 4 divides/],
    ['olmo2', { tie_word_embeddings: true }, /OLMo 2 must have a head of its own/],
    ['cohere2', { attention_bias: true }, /Command R7B must have no biases/],
    ['stablelm', { tie_word_embeddings: true }, /StableLM must have a head of its own/],
  ]
  for (const [name, fields, message] of cases)
    test(`${name}: ${JSON.stringify(fields)}`, () => {
      const written = JSON.parse(readFileSync(join(golden, name, 'config.json'), 'utf8'))
      const config = new JsonObject({ ...written, ...fields }, 'config.json')
      const family = familyOf(config)
      assert.throws(() => family.gguf?.keys(family.parse(config)), { name: 'FormatError', message })
    })
})

function slidingLayers(count: number): string[] {
  return new Array(count).fill('sliding_attention')
}
