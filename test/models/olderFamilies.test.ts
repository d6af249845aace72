import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { BloomConfig } from '../../src/models/families/bloom.ts'
import type { FalconConfig } from '../../src/models/families/falcon.ts'
import type { GptjConfig } from '../../src/models/families/gptj.ts'
import type { GptNeoConfig } from '../../src/models/families/gptNeo.ts'
import type { GptNeoxConfig } from '../../src/models/families/gptNeox.ts'
import { emptyModel, familyOf } from '../../src/models/families/index.ts'
import type { OptConfig } from '../../src/models/families/opt.ts'
import type { PhiConfig } from '../../src/models/families/phi.ts'
import { loadCausalLM } from '../../src/models/load.ts'

/* OPT, BLOOM, Falcon, GPT-Neo, GPT-J, GPT-NeoX, Phi: checkpoints as they were published, and what is refused. */

const golden = join(import.meta.dirname, '../golden/models')
const read = (name: string, file: string) => readFileSync(join(golden, name, file))
const modelOf = (fields: object) => emptyModel(new JsonObject(fields, 'config.json'))
const parse = <C>(fields: object) => modelOf(fields).config as unknown as C

describe('published config.json files', () => {
  test('OPT-350m: embeddings of 512 values, norms after each part, none at the end', () => {
    const config = parse<OptConfig>({
      architectures: ['OPTForCausalLM'],
      activation_function: 'relu',
      do_layer_norm_before: false,
      eos_token_id: 2,
      ffn_dim: 4096,
      hidden_size: 1024,
      max_position_embeddings: 2048,
      num_attention_heads: 16,
      num_hidden_layers: 24,
      vocab_size: 50272,
      word_embed_proj_dim: 512,
    })
    const { embeddingSize, normBefore, finalNorm, tieWordEmbeddings } = config
    assert.deepEqual([embeddingSize, normBefore, finalNorm, tieWordEmbeddings], [512, false, false, true])
    const model = modelOf({ ...JSON.parse(String(read('opt', 'config.json'))), word_embed_proj_dim: 8 })
    assert.deepEqual(model.getParameter('model.decoder.project_out.weight').shape, [8, 32])
    assert.deepEqual(model.lm_head.weight.shape, [48, 8])
  })

  test('BLOOM-560m, which calls its size n_embed, and its first files, which call it hidden_size', () => {
    const published = { architectures: ['BloomForCausalLM'], n_layer: 24, vocab_size: 250880 }
    const config = parse<BloomConfig>({
      ...published,
      n_embed: 1024,
      num_attention_heads: 16,
      apply_residual_connection_post_layernorm: false,
      seq_length: 1024,
    })
    assert.deepEqual([config.hiddenSize, config.heads, config.headSize], [1024, 16, 64])
    assert.equal(config.maxPositions, 1024)
    assert.equal(parse<BloomConfig>({ ...published, hidden_size: 64, n_head: 4 }).hiddenSize, 64)
  })

  /* Which field wins where two say the same: what transformers 5.23 makes of these configs. */
  test('BLOOM and Falcon: n_embed wins over hidden_size', () => {
    for (const architecture of ['BloomForCausalLM', 'FalconForCausalLM']) {
      const { config } = modelOf({
        architectures: [architecture],
        hidden_size: 64,
        n_embed: 128,
        num_attention_heads: 4,
        num_hidden_layers: 1,
        vocab_size: 64,
      })
      assert.equal(config.hiddenSize, 128)
    }
  })

  test('GPT-NeoX: rotary_emb_base and rotary_pct beside the others, their usual names within', () => {
    const turned = (fields: object) => {
      const written = JSON.parse(String(read('gpt_neox', 'config.json')))
      const { rope, headSize } = parse<GptNeoxConfig>({ ...written, rope_parameters: null, ...fields })
      return [rope.theta, rope.size / headSize]
    }
    const usual = { rope_theta: 5e5, partial_rotary_factor: 0.5 }
    assert.deepEqual(turned(usual), [1e4, 0.25])
    assert.deepEqual(turned({ ...usual, rotary_emb_base: 2e4, rotary_pct: 1 }), [2e4, 1])
    const within = { rope_type: 'default', rope_theta: 3e4, partial_rotary_factor: 0.5 }
    const both = { rotary_emb_base: 2e4, rotary_pct: 1, rope_parameters: within }
    assert.deepEqual(turned(both), [3e4, 0.5])
  })

  test('three layouts of Falcon', () => {
    const falcon = (fields: object) =>
      parse<FalconConfig>({
        architectures: ['FalconForCausalLM'],
        hidden_size: 64,
        num_attention_heads: 8,
        num_hidden_layers: 1,
        vocab_size: 64,
        ...fields,
      })
    const b7 = falcon({ multi_query: true, parallel_attn: true, num_kv_heads: 8, bias: false })
    assert.deepEqual([b7.keyValueHeads, b7.layout, b7.bias], [1, 'oneNorm', false])
    assert.deepEqual([b7.intermediateSize, b7.rope?.size, b7.tieWordEmbeddings], [256, 8, true])
    const b40 = falcon({ new_decoder_architecture: true, num_kv_heads: 2, multi_query: true })
    assert.deepEqual([b40.keyValueHeads, b40.layout], [2, 'twoNorms'])
    const rw = falcon({
      alibi: true,
      multi_query: false,
      parallel_attn: false,
      bias: true,
      num_kv_heads: null,
    })
    assert.deepEqual([rw.keyValueHeads, rw.layout, rw.rope, rw.bias], [8, 'sequential', null, true])
  })

  test('GPT-Neo 125M: layers take turns', () => {
    const config = parse<GptNeoConfig>({
      architectures: ['GPTNeoForCausalLM'],
      attention_types: [[['global', 'local'], 6]],
      attention_layers: ['global'],
      hidden_size: 768,
      intermediate_size: null,
      num_heads: 12,
      num_layers: 12,
      vocab_size: 50257,
      window_size: 256,
    })
    assert.deepEqual(config.windows.slice(0, 3), [null, 256, null])
    assert.equal(config.windows.length, 12)
    assert.equal(config.intermediateSize, 3072)
  })

  test('Pythia: a quarter of each head turns, under the names of then', () => {
    const config = parse<GptNeoxConfig>({
      architectures: ['GPTNeoXForCausalLM'],
      hidden_size: 512,
      intermediate_size: 2048,
      num_attention_heads: 8,
      num_hidden_layers: 6,
      rotary_emb_base: 20000,
      rotary_pct: 0.25,
      use_parallel_residual: true,
      vocab_size: 50304,
    })
    assert.deepEqual(config.rope, { size: 16, theta: 20000, scaling: { type: 'default' } })
    assert.deepEqual([config.parallel, config.attentionBias, config.tieWordEmbeddings], [true, true, false])
  })

  test('GPT-J and Phi-2', () => {
    const gptj = parse<GptjConfig>({
      architectures: ['GPTJForCausalLM'],
      n_embd: 4096,
      n_head: 16,
      n_inner: null,
      n_layer: 28,
      rotary_dim: 64,
      vocab_size: 50400,
    })
    assert.deepEqual([gptj.rotarySize, gptj.intermediateSize, gptj.maxPositions], [64, 16384, 2048])
    const phi = parse<PhiConfig>({
      architectures: ['PhiForCausalLM'],
      hidden_size: 2560,
      intermediate_size: 10240,
      num_attention_heads: 32,
      num_hidden_layers: 32,
      num_key_value_heads: null,
      partial_rotary_factor: 0.4,
      qk_layernorm: false,
      vocab_size: 51200,
    })
    assert.deepEqual([phi.rope.size, phi.keyValueHeads, phi.headNorms], [32, 32, false])
  })
})

/** A model's safetensors file with other names. */
function renamed(name: string, change: (path: string) => string): Map<string, Uint8Array> {
  const file = read(name, 'model.safetensors')
  const data = 8 + Number(file.readBigUInt64LE(0))
  const header = Object.entries(JSON.parse(String(file.subarray(8, data))))
  const text = JSON.stringify(Object.fromEntries(header.map(([path, info]) => [change(path), info])))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)))
  const bytes = Buffer.concat([length, Buffer.from(text), file.subarray(data)])
  return new Map([
    ['config.json', read(name, 'config.json')],
    ['model.safetensors', bytes],
  ])
}

for (const [name, from, to] of [
  ['opt', /^model\./, ''],
  ['bloom', /^transformer\./, ''],
  ['falcon', /^transformer\./, ''],
  ['gpt_neo', /^transformer\./, ''],
  ['gptj', /^transformer\./, ''],
  ['gpt_neox', /^embed_out\./, 'lm_head.'],
] as const) {
  test(`${name} under the names of other checkpoints: ${from} is ${JSON.stringify(to)}`, async () => {
    const device = openDevice('cpu', { threads: 1 })
    {
      using model = await loadCausalLM(join(golden, name), { device })
      const files = renamed(name, (path) => path.replace(from, to))
      using other = await loadCausalLM(memoryFolder(files), { device })
      using a = model.forward([3, 4])
      using b = other.forward([3, 4])
      assert.deepEqual(await b.toNumbers(), await a.toNumbers())
    }
    await device.close()
  })
}

test('masks and tables of older checkpoints are no surprise', () => {
  for (const [name, extra] of [
    ['gpt_neo', 'transformer.h.0.attn.attention.masked_bias'],
    ['gptj', 'transformer.h.0.attn.bias'],
    ['gpt_neox', 'gpt_neox.layers.0.attention.rotary_emb.inv_freq'],
    ['gpt_neox', 'gpt_neox.layers.0.attention.masked_bias'],
    ['phi', 'model.layers.0.self_attn.rotary_emb.inv_freq'],
  ]) {
    const model = modelOf(JSON.parse(String(read(name, 'config.json'))))
    assert.ok(model.isKnownExtra(extra), extra)
    assert.ok(!model.isKnownExtra(extra.replace(/\w+$/, 'weight')), extra)
  }
})

for (const [name, fields, message] of [
  ['opt', { num_attention_heads: 5 }, /num_attention_heads must divide the hidden size \(32\)/],
  ['opt', { activation_function: 'snake' }, /activation_function must be .* received "snake"/],
  [
    'bloom',
    { apply_residual_connection_post_layernorm: true },
    /post_layernorm must be false; received true/,
  ],
  ['falcon', { apply_residual_connection_post_layernorm: true }, /post_layernorm must be false/],
  ['falcon', { num_ln_in_parallel_attn: 2 }, /num_ln_in_parallel_attn must be 1 in this layout; received 2/],
  ['falcon', { multi_query: false, num_kv_heads: 2 }, /num_kv_heads must be num_attention_heads \(4\)/],
  ['falcon-grouped', { num_kv_heads: 3 }, /num_kv_heads must divide num_attention_heads \(4\)/],
  ['falcon-grouped', { parallel_attn: false }, /parallel_attn must be true with new_decoder_architecture/],
  ['falcon-grouped', { num_ln_in_parallel_attn: 3 }, /num_ln_in_parallel_attn must be 1 or 2; received 3/],
  ['gpt_neo', { attention_types: [[['global'], 1]] }, /attention_types must say global or local .* 2 layers/],
  ['gpt_neo', { attention_types: [[['sparse'], 2]] }, /attention_types must say global or local/],
  ['gpt_neo', { attention_types: [[['global'], 1e9]] }, /attention_types must say global or local/],
  ['gpt_neox', { rope_parameters: { partial_rotary_factor: 0.4 } }, /must leave an even number of the 8/],
  ['gptj', { rotary_dim: 3 }, /rotary_dim must be even, and at most the head size \(8\); received 3/],
  ['gptj', { rotary_dim: null }, /rotary_dim must be a positive integer; received null/],
  ['gptj', { rotary_dim: 16 }, /rotary_dim must be even, and at most the head size/],
  ['phi', { num_key_value_heads: 3 }, /num_key_value_heads must divide num_attention_heads \(4\)/],
] as const) {
  test(`${name} refuses ${JSON.stringify(fields)}`, () => {
    const config = { ...JSON.parse(String(read(name, 'config.json'))), ...fields }
    assert.throws(() => modelOf(config), { name: 'FormatError', message })
  })
}

for (const [name, message] of [
  ['falcon-rw', /llama\.cpp's Falcon must have rotary positions/],
  ['gpt_neox-sequential', /llama\.cpp's GPT-NeoX must have biases in the attention/],
  ['phi-normed', /llama\.cpp's Phi must have no norms of queries and keys/],
] as const) {
  test(`no GGUF file is written of ${name}, which llama.cpp would compute otherwise`, () => {
    const config = new JsonObject(JSON.parse(String(read(name, 'config.json'))), 'config.json')
    const { gguf } = familyOf(config)
    assert.throws(() => gguf?.keys(emptyModel(config).config), { name: 'FormatError', message })
  })
}
