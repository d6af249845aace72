import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { close, copyOf, editJson, golden, json, printed, stories, temporaryFolder, text } from './lowbit.ts'

/*
 * Every command from end to end. What it must compute was computed by transformers and Python's quanto.
 */

interface Variant {
  perplexity: number
  nll: number
  greedy_ids: number[]
  greedy_text: string
}

const manifest = JSON.parse(readFileSync(join(golden, 'manifest.json'), 'utf8'))
const expected: Record<string, Variant> = manifest.variants
const scoredTokens: number = manifest.n_scored_tokens
/** transformers continued this text; a begin token stands before it. */
const prompt: string = JSON.parse(readFileSync(join(golden, 'inputs.json'), 'utf8')).prompt
const root = temporaryFolder()
const context = ['--text', text, '--context', '128']

test('quantize → inspect → evaluate → generate gives what quanto and transformers give', async () => {
  const out = join(root, 'int4')
  const quantized = await json('quantize', stories, '--weights', 'int4', '--exclude', 'lm_head', '--out', out)
  assert.deepEqual(Object.keys(quantized), ['out', 'format', 'bytes', 'bitsPerWeight', 'modules'])
  assert.deepEqual([quantized.out, quantized.format, quantized.modules.length], [out, 'quanto', 35])
  assert.deepEqual(Object.keys(quantized.modules[0]), [
    'name',
    'weights',
    'activations',
    'groupSize',
    'error',
  ])
  assert.equal(quantized.modules[0].name, 'model.layers.0.self_attn.q_proj')
  // A uniform error of up to half a step, sqrt(1/12) of it in the mean; int4 has 15 steps over a row's range
  // of about 5 deviations.
  for (const { error } of quantized.modules)
    assert.ok(error > 0.05 && error < 0.15, `relative error ${error}`)

  const held = await json('inspect', out)
  assert.deepEqual(Object.keys(held), [
    'architecture',
    'scheme',
    'bytes',
    'bitsPerWeight',
    'tensors',
    'activations',
  ])
  assert.deepEqual([held.architecture, held.scheme, held.tensors.length], ['LlamaForCausalLM', 'quanto', 47])
  const down = held.tensors.find(
    (tensor: { name: string }) => tensor.name === 'model.layers.4.mlp.down_proj.weight',
  )
  // 172 columns have no group that divides them: 64 rows with a float32 scale and shift each, and two codes
  // in a byte.
  assert.deepEqual(down, {
    name: down.name,
    shape: [64, 172],
    kind: 'qint4',
    bytes: (64 * 172) / 2 + 64 * 8,
    kernel: 'qmatmul',
  })
  // 45,440 codes of 4 bits in each of five layers, 412 rows of scales and shifts, and the floats.
  const layerWeights = 64 * (64 + 32 + 32 + 64) + 3 * 64 * 172
  const layerRows = 64 + 32 + 32 + 64 + 172 + 172 + 64
  assert.equal(held.bytes, 5 * (layerWeights / 2 + 8 * layerRows) + 4 * (512 * 64 + 11 * 64))
  assert.equal(held.bitsPerWeight, (8 * held.bytes) / (5 * layerWeights + 512 * 64 + 11 * 64))
  assert.equal(quantized.bitsPerWeight, held.bitsPerWeight)

  const errors = await json('inspect', out, '--baseline', stories)
  const errorOf = new Map(
    errors.tensors.map((tensor: { name: string; error: number }) => [tensor.name, tensor.error]),
  )
  for (const { name, error } of quantized.modules) close(Number(errorOf.get(`${name}.weight`)), error, 1e-6)
  assert.equal(errorOf.get('model.embed_tokens.weight'), 0)

  const { perplexity, nll } = expected['quanto-qint4-nolmhead']
  const scores = await json('evaluate', out, ...context)
  assert.deepEqual(Object.keys(scores), [
    'perplexity',
    'nll',
    'nllError',
    'tokens',
    'computeDtype',
    'perplexityInterval',
  ])
  assert.equal(scores.tokens, scoredTokens)
  close(scores.nll, nll, 1e-4)
  close(scores.perplexity, perplexity, 1e-3)

  const { greedy_ids, greedy_text } = expected['quanto-qint4-nolmhead']
  const told = await json('generate', out, prompt, '--max-new-tokens', '40', '--compute-dtype', 'float32')
  const figures = [
    'text',
    'tokenIds',
    'finishReason',
    'promptTokens',
    'prefillTokensPerSecond',
    'decodeTokensPerSecond',
    'computeDtype',
  ]
  assert.deepEqual([Object.keys(told).sort(), told.computeDtype], [figures.sort(), 'float32'])
  assert.deepEqual(told.tokenIds, greedy_ids)
  assert.equal(told.text.trim(), greedy_text.trim())
})

for (const [weights, variant] of [
  ['int8', 'quanto-qint8'],
  ['float8', 'quanto-qfloat8'],
  ['int2', 'quanto-qint2'],
  ['int4', 'quanto-qint4'],
]) {
  test(`${weights}: the perplexity is that of quanto's own model`, async () => {
    const out = join(root, `all-${weights}`)
    await json('quantize', stories, '--weights', weights, '--out', out)
    close((await json('evaluate', out, ...context)).nll, expected[variant].nll, 1e-4)
  })
}

test('evaluate --baseline: no distance to itself, some to the quantized', async () => {
  const same = await json('evaluate', stories, ...context, '--baseline', stories)
  assert.deepEqual(Object.keys(same), [
    'perplexity',
    'nll',
    'nllError',
    'tokens',
    'klDivergence',
    'klDivergenceError',
    'top1Agreement',
    'top1AgreementError',
    'computeDtype',
    'perplexityInterval',
  ])
  close(same.nll, expected.float.nll, 1e-5)
  assert.deepEqual([same.klDivergence, same.top1Agreement], [0, 1])
  const other = await json(
    'evaluate',
    join(golden, 'quanto-qint4'),
    ...context,
    '--baseline',
    stories,
    '--threads',
    '2',
  )
  assert.ok(other.klDivergence > 0.01 && other.klDivergence < 1, `KL divergence ${other.klDivergence}`)
  assert.ok(other.top1Agreement > 0.5 && other.top1Agreement < 1, `agreement ${other.top1Agreement}`)
})

test('evaluate --stride scores each token of the windows once, but the first', async () => {
  const { tokens, nll } = await json('evaluate', stories, ...context, '--stride', '32')
  // The text has 54 windows of 128 tokens and less than one more, so 212 to 215 steps of 32 after the first
  // window.
  const steps = (tokens - 127) / 32
  assert.ok(Number.isInteger(steps) && steps >= 212 && steps <= 215, `${tokens} tokens`)
  // With at least 96 tokens before each, they surprise the model less than with none at a window's start.
  assert.ok(nll < expected.float.nll - 0.02, `nll ${nll}`)
})

test('generate: the text alone on stdout, the figures on stderr', async () => {
  const { stdout, stderr } = await printed('generate', stories, prompt, '--max-new-tokens', '40')
  assert.equal(stdout.trim(), expected.float.greedy_text.trim())
  assert.match(stderr, /^\d+ prompt tokens at \d+\/s, 40 new at \d+\/s \(.+, \d+ threads?, float32\)\n$/)
})

test('generate and bench compute in int8, evaluate in float32; each takes the other, and says which', async () => {
  const model = join(golden, 'quanto-qint4')
  const small = ['--prompt-tokens', '8', '--new-tokens', '4']
  for (const [usual, other, ...args] of [
    ['int8', 'float32', 'generate', model, prompt, '--max-new-tokens', '4'],
    ['int8', 'float32', 'bench', model, ...small],
    ['float32', 'int8', 'evaluate', model, '--text', text, '--context', '128'],
  ]) {
    assert.equal((await json(...args)).computeDtype, usual, args[0])
    assert.equal((await json(...args, '--compute-dtype', other)).computeDtype, other, args[0])
  }
  assert.match((await printed('bench', model, ...small)).stdout, /\ndevice +.+, \d+ threads?, int8\n$/)
  const compared = ['--compute-dtype', 'int8', '--baseline', stories]
  const lines = (await printed('evaluate', model, ...context, ...compared)).stdout.split('\n')
  assert.match(lines[0], /^perplexity +\d\.\d{4} +\(95 %: .+ tokens scored, int8\)$/)
  assert.match(lines[1], /^KL divergence +0\.\d{5} +\(95 %: 0\.\d{5} to 0\.\d{5}; nats per token .+\)$/)
  assert.match(lines[2], /^agreement +\d\d\.\d\d % +\(95 %: \d\d\.\d\d % to \d\d\.\d\d %; .+\)$/)
})

test('generate --device wasm finds the tokens that transformers finds', async () => {
  const { tokenIds } = await json('generate', stories, prompt, '--max-new-tokens', '40', '--device', 'wasm')
  assert.deepEqual(tokenIds, expected.float.greedy_ids)
})

test('generate draws the same tokens from the same seed, others from another', async () => {
  const draw = async (seed: string) => {
    const { tokenIds } = await json(
      'generate',
      stories,
      'Once',
      '--temperature',
      '1',
      '--top-k',
      '40',
      '--top-p',
      '0.95',
      '--seed',
      seed,
    )
    return tokenIds
  }
  const [one, again, other] = [await draw('7'), await draw('7'), await draw('8')]
  assert.deepEqual(one, again)
  assert.notDeepEqual(one, other)
  const { tokenIds } = await json(
    'generate',
    stories,
    prompt,
    '--temperature',
    '1',
    '--top-k',
    '1',
    '--max-new-tokens',
    '40',
  )
  assert.deepEqual(tokenIds, expected.float.greedy_ids, 'of one candidate the likeliest is drawn')
})

test('generate --stop, --stop-token, --block-ngrams and --top-logprobs', async () => {
  const { greedy_ids, greedy_text } = expected.float
  const told = (...options: string[]) =>
    json('generate', stories, prompt, '--max-new-tokens', '40', ...options)
  const stop = greedy_text.slice(-8, -4)
  const cut = await told('--stop', 'never said', '--stop', stop, '--top-logprobs', '3')
  assert.equal(cut.text.trim(), greedy_text.slice(0, greedy_text.indexOf(stop)).trim())
  assert.equal(cut.finishReason, 'stop')
  for (const [i, { tokenId, logprob, topLogprobs }] of cut.logprobs.entries()) {
    assert.equal(tokenId, greedy_ids[i])
    assert.equal(topLogprobs.length, 3)
    assert.deepEqual(topLogprobs[0], { tokenId, logprob })
  }
  const { tokenIds } = await told('--stop-token', String(greedy_ids[6]))
  assert.deepEqual(tokenIds, greedy_ids.slice(0, greedy_ids.indexOf(greedy_ids[6]) + 1))
  const unlike = await told('--block-ngrams', '1')
  assert.equal(new Set(unlike.tokenIds).size, 40)
})

test('generate --max-new-tokens 0 and an empty prompt', async () => {
  assert.deepEqual((await json('generate', stories, 'Once', '--max-new-tokens', '0')).tokenIds, [])
  // The begin token alone is a prompt.
  assert.equal((await json('generate', stories, '', '--max-new-tokens', '3')).promptTokens, 1)
})

test('generate --chat takes the template named default, --chat-template another', async () => {
  const chat_template = [
    { name: 'default', template: `<s>${prompt}` },
    { name: 'nothing', template: '{{ bos_token }}' },
  ]
  const model = copyOf(stories, join(root, 'templates'), (folder) =>
    editJson(folder, 'tokenizer_config.json', (config) => Object.assign(config, { chat_template })),
  )
  const { tokenIds } = await json('generate', model, 'hi', '--chat', '--max-new-tokens', '40')
  assert.deepEqual(tokenIds, expected.float.greedy_ids)
  const named = await json('generate', model, 'hi', '--chat-template', 'nothing', '--max-new-tokens', '1')
  assert.equal(named.promptTokens, 1)
})

test('bench measures', async () => {
  const result = await json(
    'bench',
    stories,
    '--prompt-tokens',
    '32',
    '--new-tokens',
    '8',
    '--threads',
    '1',
    '--device',
    'wasm',
  )
  const rates = [
    'prefillTokensPerSecond',
    'decodeTokensPerSecond',
    'firstTokenMs',
    'msPerToken',
    'peakMemoryBytes',
    'loadMs',
    'threads',
  ]
  for (const key of rates)
    assert.ok(Number.isFinite(result[key]) && result[key] > 0, `${key}: ${result[key]}`)
  assert.match(result.device, /^wasm /)
})

test('bench and generate: fused models', async () => {
  const rows = await json('bench', stories, '--fuse', '--prompt-tokens', '8', '--new-tokens', '3')
  assert.deepEqual(
    rows.map(({ fused }: { fused: boolean }) => fused),
    [false, true],
  )
  const [plain, fused] = await Promise.all(
    [[], ['--fuse']].map((words) => json('generate', stories, 'Once', '--max-new-tokens', '8', ...words)),
  )
  assert.deepEqual(fused.tokenIds, plain.tokenIds)
})

test('bench: several models, the float one first, over batch sizes and lengths', async () => {
  const quantized = join(golden, 'quanto-qint4')
  const sizes = ['--batch-sizes', '1,3', '--prompt-lengths', '8,33', '--new-tokens', '3']
  const rows = await json('bench', quantized, stories, ...sizes)
  assert.deepEqual(
    rows.map((row: Record<string, unknown>) => [
      row.model,
      row.batchSize,
      row.promptTokens,
      row.computeDtype,
    ]),
    [stories, quantized].flatMap((model) =>
      [1, 3].flatMap((batch) =>
        [8, 33].map((length) => [model, batch, length, model === stories ? 'float32' : 'int8']),
      ),
    ),
  )
  assert.ok(rows[4].weightBytes < rows[0].weightBytes)
  const one = ['bench', stories, '--prompt-tokens', '8', '--new-tokens', '2', '--format']
  const markdown = (await printed(...one, 'markdown')).stdout.split('\n')
  assert.match(markdown[0], /^\| Model \| Batch \| Prompt \| New \| Prefill tok\/s \|/)
  assert.match(markdown[2], /^\| stories260K \| 1 \| 8 \| 2 \| [\d.]+ \|.* [kM]B \|$/)
  const [names, values] = (await printed(...one, 'csv')).stdout.split('\n').map((line) => line.split(','))
  assert.equal(names.length, values.length)
  assert.deepEqual([names[0], values[0], names[1], values[1]], ['model', stories, 'batchSize', '1'])
  assert.match((await printed(...one, 'table')).stdout, /^Model +Batch +Prompt[^\n]*\nstories260K +1 +8 +2 /)
})

test('--kv int8: generate, evaluate and bench keep keys and values in int8, and bench says what they take', async () => {
  const sizes = ['--prompt-tokens', '200', '--new-tokens', '57']
  // 256 tokens of five layers, keys and values, four heads: 8 values each in float16; or those of 128, and of
  // all a code each and a float16 scale for them.
  assert.equal((await json('bench', stories, ...sizes)).cacheBytes, 5 * 2 * 4 * 256 * 16)
  const bench = await json('bench', stories, ...sizes, '--kv', 'int8')
  assert.deepEqual([bench.kv, bench.cacheBytes], ['int8', 5 * 2 * 4 * (128 * 16 + 256 * 10)])
  const shown = (await printed('bench', stories, ...sizes, '--kv', 'int8')).stdout
  assert.match(shown, /\ncache +184 kB for keys and values in int8\n/)
  const { tokenIds } = await json('generate', stories, prompt, '--max-new-tokens', '40', '--kv', 'int8')
  assert.deepEqual(tokenIds, expected.float.greedy_ids)
  const [floats, int8] = await Promise.all(
    ['float32', 'int8'].map((kv) => json('evaluate', stories, '--text', text, '--kv', kv)),
  )
  assert.notEqual(int8.perplexity, floats.perplexity)
  assert.ok(Math.abs(int8.perplexity / floats.perplexity - 1) < 0.001, `${int8.perplexity}`)
})

test('inspect prints the module tree and aligned columns', async () => {
  const { stdout } = await printed('inspect', join(golden, 'quanto-qint4-nolmhead'))
  assert.ok(
    stdout.startsWith('LlamaForCausalLM(\n  (model): LlamaModel(\n    (embed_tokens): Embedding(512, 64)\n'),
  )
  assert.match(stdout, /\(0-4\): 5 x LlamaDecoderLayer\(/)
  assert.match(stdout, /\(q_proj\): QLinear\(in_features=64, out_features=64, bias=False\)/)
  assert.match(stdout, /\(norm\): RMSNorm\(\(64,\), eps=1e-05/)
  const lines = stdout.split('\n').filter((line) => line.startsWith('model.layers.'))
  assert.equal(lines.length, 45)
  assert.equal(new Set(lines.map((line) => / {2}(float32|qint4) /.exec(line)?.index)).size, 1)
})

test("inspect shows the activations' types and scales, as they stand in the file", async () => {
  const folder = join(golden, 'quanto-qint4-a8')
  const bytes = readFileSync(join(folder, 'model.safetensors'))
  const length = Number(bytes.readBigUInt64LE())
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length))
  const saved = (name: string) => bytes.readFloatLE(8 + length + header[name].data_offsets[0])
  const { activations, tensors } = await json('inspect', folder)
  assert.deepEqual(Object.keys(tensors[0]), ['name', 'shape', 'kind', 'bytes', 'kernel'])
  assert.equal(activations.length, 36)
  for (const { name, type, inputScale, outputScale } of activations) {
    assert.deepEqual(
      [type, inputScale, outputScale],
      ['qint8', saved(`${name}.input_scale`), saved(`${name}.output_scale`)],
    )
  }
  const { stdout } = await printed('inspect', folder)
  assert.match(stdout, /^layer +activations +scale of inputs +scale of outputs$/m)
  assert.ok(stdout.includes(`qint8 ${saved('lm_head.input_scale').toPrecision(4).padStart(22)}`), stdout)
  assert.deepEqual((await json('inspect', stories)).activations, [])
})
