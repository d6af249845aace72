import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import {
  calibrationData,
  loadCausalLM,
  openDevice,
  perplexity,
  quantizeCalibrated,
  rotate,
} from '../../src/index.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { json, lowbit, stories, temporaryFolder, text } from './lowbit.ts'

/* `lowbit quantize` with algorithms that see what passes through the model. */

const root = temporaryFolder()
const lines = join(root, 'texts.jsonl')
writeFileSync(
  lines,
  ['Once upon a time there was a dog.', 'The sun was warm.', 'Tom had a red ball.']
    .map((each) => `${JSON.stringify({ text: each })}\n`)
    .join(''),
)

test('it writes what quantizeCalibrated gives, and says on how much text', async () => {
  const out = join(root, 'rotated')
  const model = await json(
    ...['quantize', stories, '--algorithm', 'rotate', '--calibration', lines, '--no-packing', '--seed', '3'],
    ...['--weights', 'int4', '--group-size', '32', '--exclude', 'lm_head', '--resume', '--out', out],
    ...['--report', join(root, 'page.html')],
  )
  // What was kept of blocks went once the folder was there.
  assert.deepEqual(readdirSync(root).sort(), ['page.html', 'rotated', 'texts.jsonl'])
  const page = readFileSync(join(root, 'page.html'), 'utf8')
  assert.match(page, /, rotate, as gptq: 1\.04 MB.*<h2>What each algorithm bought<.*<h2>Error of outputs</s)
  assert.deepEqual(
    model.steps.map(({ name }: { name: string }) => name),
    ['rounded to nearest', 'rotate'],
  )
  assert.equal(page.match(/<tr><td>/g)?.length, model.modules.length)
  const device = openDevice('cpu')
  after(() => device.close())
  using floats = await loadCausalLM(stories, { device })
  const options = { tokenizer: floats.tokenizer, packing: false, seed: 3 }
  const data = await calibrationData(lines, options)
  assert.equal(model.samples, 3)
  assert.equal(model.tokens, data.flat().length)
  assert.equal(model.format, 'gptq')
  assert.ok(model.modules.length > 0)
  const weights = {
    weights: 'int4',
    zeroPoints: true,
    symmetric: false,
    groupSize: 32,
    scaleDtype: 'float16',
  } as const
  await quantizeCalibrated(floats, {
    ...{ data, exclude: 'lm_head' },
    algorithm: [{ name: 'rounding', options: weights }, rotate()],
  })
  using written = await loadCausalLM(out, { device })
  using float = await loadCausalLM(stories, { device })
  const context = Math.min(...data.map((ids) => ids.length))
  const ids = data.flatMap((sample) => sample.slice(0, context))
  const { klDivergence } = await perplexity(written, ids, { context, baseline: float })
  assert.equal(model.steps[1].klDivergence, klDivergence)
  for (const { name, weights: type, groupSize } of model.modules) {
    assert.deepEqual([type, groupSize], ['qint4', 32])
    const bytes = []
    for (const each of [floats, written]) {
      const weight = each.getParameter(`${name}.weight`) as QTensor
      assert.ok(weight instanceof QTensor)
      using codes = weight.codes()
      bytes.push(Buffer.from(await codes.readBytes()).toString('hex'))
    }
    assert.equal(bytes[0], bytes[1], name)
  }
})

test('a budget in the place of --weights chooses the bits of each layer', async () => {
  const out = join(root, 'mixed')
  const given = ['quantize', stories, '--calibration', text, '--include', '*.0.self_attn.[qkv]_proj']
  const data = ['--samples', '4', '--length', '64']
  const model = await json(...given, ...data, '--target-bits', '4', '--group-size', '32', '--out', out)
  assert.equal(model.format, 'gptq')
  const types = model.modules.map(({ weights }: { weights: string }) => weights)
  assert.equal(types.length, 3)
  assert.ok(new Set(types).size > 1, types.join())
  const device = openDevice('cpu')
  after(() => device.close())
  using written = await loadCausalLM(out, { device })
  for (const [i, { path, choices, chosen }] of model.budget.layers.entries()) {
    const weight = written.getParameter(`${path}.weight`) as QTensor
    assert.equal(weight.qtype.name, types[i])
    assert.equal(weight.qtype.bits, choices[chosen].override.bits)
  }
  const refusals: [args: string[], message: RegExp][] = [
    [[], /one of --weights, --target-bits, --target-size and --max-kl must be given; received none\n$/],
    [['--max-kl', '1', '--weights', 'int4'], /must be given; received --weights, --max-kl\n$/],
    [['--target-bits', '1'], /targetBits must be from 2\.5.*, to 8\..*, the largest; received 1\n$/],
    [['--target-bits', '4', '--format', 'awq'], /several bits to choose from; awq has 4 alone\n$/],
    [
      ['--target-bits', '4', '--algorithm', 'hqq'],
      /a budget goes with algorithms that see data, such as gptq; received --algorithm hqq\n$/,
    ],
    [['--target-size', '3 apples'], /It must be a size such as 80MB/],
    [
      ['--weights', 'int4', '--group-sizes', '32'],
      /--group-sizes goes with --target-bits, --target-size or --max-kl; received none of them\n$/,
    ],
  ]
  for (const [args, message] of refusals) {
    const { code, stderr } = await lowbit(
      ...given,
      '--group-size',
      '32',
      '--out',
      join(root, 'refused'),
      ...args,
    )
    assert.notEqual(code, 0)
    assert.match(stderr, message)
  }
})

test('what does not go together is refused in one line, before the model is read', async () => {
  const given = ['quantize', stories, '--out', join(root, 'refused'), '--weights', 'int4']
  const refusals: [args: string[], message: RegExp][] = [
    [
      ['--algorithm', 'rotate'],
      /^lowbit: quantize: --algorithm rotate needs --calibration FILE, a text .*; wikitext2, c4 and pileval stand for the hub's\n$/,
    ],
    [
      ['--algorithm', 'rotate,max', '--calibration', text],
      /^lowbit: quantize: --algorithm must be one quantizer, or algorithms that see data, in their order; received rotate,max\n$/,
    ],
    [
      ['--algorithm', 'rotate', '--calibration', text, '--weights', 'nf4'],
      /^lowbit: quantize: --algorithm rotate takes weights of int2, int3, int4 or int8; received --weights nf4\n$/,
    ],
    [
      ['--algorithm', 'rotate', '--calibration', text, '--format', 'awq'],
      /^lowbit: save: awq must be able to hold \S+; it has 172 rows, and AWQ takes multiples of 8\n$/,
    ],
    [
      ['--algorithm', 'rotate', '--calibration', text, '--length', '600'],
      /^lowbit: quantize: --length must be within the model's context of 512 tokens; received 600\n$/,
    ],
    [
      ['--algorithm', 'rotate', '--calibration', join(root, 'none.txt')],
      /^lowbit: \S+none\.txt: must be a file that can be read; .*\n$/,
    ],
  ]
  for (const [args, message] of refusals) {
    const { code, stderr } = await lowbit(...given, ...args)
    assert.equal(code, 1, stderr)
    assert.match(stderr, message)
  }
})

test('--quality chooses the algorithms, and gives more where it trains', async () => {
  const options = ['--calibration', text, '--samples', '8', '--length', '64', '--weights', 'int2']
  const divergence = async (name: string, ...more: string[]) => {
    const out = join(root, name)
    await json('quantize', stories, ...options, '--exclude', 'lm_head', '--out', out, ...more)
    const context = ['--text', text, '--context', '64', '--baseline', stories]
    return (await json('evaluate', out, ...context)).klDivergence
  }
  const fast = await divergence('fast', '--quality', 'fast')
  const good = await divergence('good', '--quality', 'good', '--time-limit', '8')
  assert.ok(good < 0.9 * fast, `${good} of ${fast}`)
  for (const [args, says] of [
    [['--quality', 'best', '--algorithm', 'gptq'], /--quality chooses the algorithms; leave --algorithm out/],
    [['--quality', 'fast', '--time-limit', '3'], /--time-limit bounds the training/],
  ] as const) {
    const { code, stderr } = await lowbit('quantize', stories, ...options, '--out', join(root, 'no'), ...args)
    assert.equal(code, 1)
    assert.match(stderr, says)
  }
})
