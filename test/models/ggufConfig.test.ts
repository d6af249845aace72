import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GgufFile, openGguf } from '../../src/formats/gguf.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { bytesSource } from '../../src/formats/source.ts'
import { emptyModel } from '../../src/models/families/index.ts'
import { parseLlamaConfig } from '../../src/models/families/llama.ts'
import { ggufConfig } from '../../src/models/ggufConfig.ts'
import { inverseFrequencies } from '../../src/nn/rope.ts'
import { float32, gguf, type Parts, string, strings, uint32, type Value } from '../formats/ggufBytes.ts'

/** Llama 3.2 1B, as llama.cpp converts it. */
const keys: Record<string, Value> = {
  'general.architecture': string('llama'),
  'llama.block_count': uint32(16),
  'llama.context_length': uint32(131072),
  'llama.embedding_length': uint32(2048),
  'llama.feed_forward_length': uint32(8192),
  'llama.attention.head_count': uint32(32),
  'llama.attention.head_count_kv': uint32(8),
  'llama.rope.freq_base': float32(500000),
  'llama.attention.layer_norm_rms_epsilon': float32(1e-5),
  'llama.attention.key_length': uint32(64),
  'llama.attention.value_length': uint32(64),
  'llama.vocab_size': uint32(128256),
  'llama.rope.dimension_count': uint32(64),
  'tokenizer.ggml.bos_token_id': uint32(128000),
  'tokenizer.ggml.eos_token_id': uint32(128009),
  'tokenizer.ggml.eot_token_id': uint32(128009),
  'tokenizer.ggml.eom_token_id': uint32(128008),
}

const open = (
  changes: Record<string, Value | null> = {},
  tensors: Parts['tensors'] = [],
): Promise<GgufFile> => {
  const entries = Object.entries({ ...keys, ...changes }).flatMap(([key, value]) =>
    value ? [[key, value] as const] : [],
  )
  return openGguf(bytesSource(gguf({ keys: entries, tensors, dataBytes: 64 }), 'x'))
}

/** The config as the family parses it. */
const parsed = (
  file: GgufFile,
  factors: readonly number[] | null = null,
  warn: (message: string) => void = () => {},
) => parseLlamaConfig(ggufConfig(file, factors, warn).config, warn)

test('every field', async () => {
  assert.deepEqual(parsed(await open()), {
    hiddenSize: 2048,
    intermediateSize: 8192,
    layers: 16,
    heads: 32,
    keyValueHeads: 8,
    headSize: 64,
    vocabularySize: 128256,
    maxPositions: 131072,
    normEpsilon: Math.fround(1e-5),
    activation: 'silu',
    rope: { size: 64, theta: 500000, scaling: { type: 'default' } },
    tieWordEmbeddings: true,
    biases: { qkv: false, output: false, mlp: false },
    windows: new Array(16).fill(null),
    eosTokenIds: [128009, 128008],
  })
})

test('defaults', async () => {
  const absent = [
    'attention.head_count_kv',
    'rope.freq_base',
    'attention.key_length',
    'attention.value_length',
    'vocab_size',
    'rope.dimension_count',
  ]
  const head = { name: 'output.weight', sizes: [8], type: 0, offset: 0 }
  const embedding = { name: 'token_embd.weight', sizes: [2, 3], type: 0, offset: 32 }
  const ids = ['bos', 'eos', 'eot', 'eom'].map((name) => [`tokenizer.ggml.${name}_token_id`, null])
  const file = await open(
    { ...Object.fromEntries(absent.map((key) => [`llama.${key}`, null])), ...Object.fromEntries(ids) },
    [head, embedding],
  )
  const config = parsed(file)
  assert.deepEqual(
    [config.keyValueHeads, config.rope.theta, config.headSize, config.vocabularySize],
    [32, 10000, 64, 3],
  )
  assert.deepEqual([config.tieWordEmbeddings, config.eosTokenIds], [false, []])
})

test('as many key-value heads as heads where a file does not say, in every family', async () => {
  const changes = { 'llama.attention.head_count_kv': null, 'llama.attention.sliding_window': uint32(16) }
  const { config } = ggufConfig(await open(changes), null)
  assert.equal(config.string('model_type'), 'mistral')
  assert.equal(emptyModel(config).config.keyValueHeads, 32)
})

/** Of Llama 3.2: 1 for short waves, 32 for long ones. */
function llama3Factors(): number[] {
  return Array.from({ length: 32 }, (_, i) => {
    const wavelength = 2 * Math.PI * 500000 ** (i / 32)
    if (wavelength < 8192 / 4) return 1
    if (wavelength > 8192) return 32
    const smooth = (8192 / wavelength - 1) / 3
    return Math.fround(1 / ((1 - smooth) / 32 + smooth))
  })
}

test('rope scaling', async () => {
  const scaling = async (changes: Record<string, Value>, factors: number[] | null = null) =>
    parsed(await open(changes), factors).rope.scaling
  assert.deepEqual(
    await scaling({ 'llama.rope.scaling.type': string('linear'), 'llama.rope.scaling.factor': float32(4) }),
    {
      type: 'linear',
      factor: 4,
    },
  )
  assert.deepEqual(await scaling({ 'llama.rope.scale_linear': float32(2) }), { type: 'linear', factor: 2 })
  assert.deepEqual(
    await scaling({ 'llama.rope.scaling.type': string('none'), 'llama.rope.scaling.factor': float32(4) }),
    {
      type: 'default',
    },
  )
  const llama3 = {
    type: 'llama3',
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalMaxPositions: 8192,
  }
  assert.deepEqual(await scaling({}, llama3Factors()), llama3)
  const other = llama3Factors().map((factor, i) => (i === 20 ? factor * 1.01 : factor))
  const longrope = await scaling({}, other)
  const lists = { shortFactors: other, longFactors: other, originalMaxPositions: 131072, attentionFactor: 1 }
  assert.deepEqual(longrope, { type: 'longrope', ...lists })
  const [plain, scaled] = [{ type: 'default' } as const, longrope].map((rule) =>
    inverseFrequencies({ size: 64, theta: 500000, scaling: rule }),
  )
  assert.equal(scaled[20], Math.fround(plain[20] / other[20]))
})

test('a special token that the vocabulary does not have is ignored, and named', async () => {
  const file = await open({
    'tokenizer.ggml.eos_token_id': uint32(128256),
    'tokenizer.ggml.eot_token_id': null,
  })
  const warnings: string[] = []
  const config = parsed(file, null, (message) => void warnings.push(message))
  assert.deepEqual(config.eosTokenIds, [128008])
  assert.equal(warnings.length, 1)
  assert.match(
    warnings[0],
    /^x: .*eos_token_id" must be below the vocabulary's size \(128256\); received 128256 .*; it is ignored$/,
  )
  assert.equal(ggufConfig(file, null).config.get('eos_token_id'), 128008)
})

test('tokens that end a turn are found by their text, as llama.cpp finds them', async () => {
  const tokens = strings(
    '<|begin_of_text|>',
    '<|end_of_text|>',
    'a',
    '<|eot_id|>',
    '<|im_end|>x',
    '',
    '<|eom_id|>',
  )
  const file = await open({
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.eos_token_id': uint32(2),
    'tokenizer.ggml.eot_token_id': null,
    'tokenizer.ggml.eom_token_id': null,
    'llama.vocab_size': uint32(6),
  })
  // The embedding has no row for the last.
  assert.deepEqual(parsed(file).eosTokenIds, [2, 1, 3])
})

test('config.json, saved and parsed again, says the same', async () => {
  for (const factors of [null, llama3Factors(), llama3Factors().map((factor, i) => factor + i)]) {
    const file = await open()
    const { config } = ggufConfig(file, factors)
    const written = JSON.parse(JSON.stringify(config.toObject()))
    assert.deepEqual(parseLlamaConfig(new JsonObject(written, 'config.json')), parsed(file, factors))
    assert.equal(written.bos_token_id, 128000)
    assert.deepEqual(written.architectures, ['LlamaForCausalLM'])
  }
  const linear = { 'llama.rope.scaling.type': string('linear'), 'llama.rope.scaling.factor': float32(4) }
  const { config } = ggufConfig(await open(linear), null)
  assert.deepEqual(config.get('rope_scaling'), { rope_type: 'linear', factor: 4 })
})

test('what cannot be is refused', async () => {
  const refuses = async (
    changes: Record<string, Value | null>,
    message: RegExp,
    factors: number[] | null = null,
  ) => {
    const file = await open(changes)
    assert.throws(() => parsed(file, factors), { name: 'FormatError', message })
  }
  await refuses(
    { 'general.architecture': string('mamba') },
    /"general.architecture" must be "llama".*; received "mamba"/,
  )
  await refuses({ 'general.architecture': null }, /"general.architecture" must be a string; it is missing/)
  await refuses({ 'llama.block_count': null }, /"llama.block_count" must be given; it is missing/)
  await refuses(
    { 'llama.block_count': uint32(4097) },
    /"llama.block_count" must be at most 4096; received 4097/,
  )
  await refuses(
    { 'llama.embedding_length': uint32(0) },
    /"llama.embedding_length" must be a positive integer; received 0/,
  )
  await refuses({ 'llama.vocab_size': uint32(2 ** 31) }, /"llama.vocab_size" must be at most 16777216/)
  await refuses({ 'llama.expert_count': uint32(8) }, /must be 0: its family has no experts; received 8/)
  await refuses(
    { 'llama.attention.head_count_kv': uint32(5) },
    /"llama.attention.head_count_kv" must divide num_attention_heads \(32\); received 5/,
  )
  await refuses(
    {
      'llama.attention.key_length': uint32(63),
      'llama.attention.value_length': uint32(63),
      'llama.rope.dimension_count': uint32(63),
    },
    /"llama.attention.key_length" must be even; it is 63; received 63/,
  )
  await refuses(
    { 'llama.rope.dimension_count': uint32(32) },
    /"llama.rope.dimension_count" must be the head size \(64\); received 32/,
  )
  await refuses({ 'llama.attention.value_length': uint32(128) }, /must be the head size \(64\); received 128/)
  await refuses(
    { 'llama.attention.layer_norm_rms_epsilon': float32(NaN) },
    /"llama.attention.layer_norm_rms_epsilon" must be a finite number; received NaN/,
  )
  await refuses(
    { 'llama.rope.scaling.type': string('su') },
    /must be "none", "linear" or "yarn"; received "su"/,
  )
  await refuses({}, /rope_freqs.weight must hold 32 numbers above 0; received 2: \[1,1\]/, [1, 1])
  await refuses(
    { 'llama.rope.scale_linear': float32(2) },
    /by a factor or by rope_freqs.weight; they are by both/,
    llama3Factors(),
  )
})
