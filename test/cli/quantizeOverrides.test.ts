import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { loadCausalLM, openDevice } from '../../src/index.ts'
import { json, lowbit, stories, temporaryFolder, text } from './lowbit.ts'

/* What single layers become, from a shell: by pattern, and by a budget among GGUF's types. */

const root = temporaryFolder()
const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

/** The type of each layer that was written, by path. */
function typesOf(result: { modules: { name: string; weights: string; groupSize: number | null }[] }) {
  return Object.fromEntries(
    result.modules.map(({ name, weights, groupSize }) => [name, `${weights} ${groupSize ?? 'row'}`]),
  )
}

test('--override says what is otherwise, on its own and in a file; the first that fits counts', async () => {
  const file = join(root, 'overrides.json')
  writeFileSync(file, JSON.stringify({ 'model.layers.0.*': { bits: 2 }, '*v_proj': null }))
  const types = typesOf(
    await json(
      ...['quantize', stories, '--weights', 'int4', '--group-size', '64', '--include', '*self_attn*'],
      ...['--override', 're:model\\.layers\\.[01]\\.self_attn\\.q_proj=int8:row', '--override', file],
      ...['--out', join(root, 'overridden')],
    ),
  )
  const layer = (i: number, name: string) => types[`model.layers.${i}.self_attn.${name}`]
  assert.deepEqual(
    [layer(0, 'q_proj'), layer(1, 'q_proj'), layer(2, 'q_proj')],
    ['qint8 row', 'qint8 row', 'qint4 row'],
  )
  assert.deepEqual([layer(0, 'v_proj'), layer(1, 'v_proj')], ['qint2 row', undefined])
})

test('a GGUF file has types by a budget; embeddings and head take part; llama.cpp has no blocks of 172', async () => {
  const out = join(root, 'mixed.gguf')
  const given = ['quantize', stories, '--calibration', text, '--samples', '2', '--length', '32', '--out', out]
  const layers = ['lm_head', 'model.embed_tokens', '*.0.mlp.*', '*.1.self_attn.*'].flatMap((each) => [
    '--include',
    each,
  ])
  const override = ['--override', '*.o_proj=q8_0']
  const { code, stdout, stderr } = await lowbit(
    ...given,
    ...layers,
    ...override,
    '--target-bits',
    '5.3',
    '--json',
  )
  assert.equal(code, 0, stderr)
  assert.equal(
    stderr,
    `lowbit: quantize: the columns of ${[0, 1, 2, 3].map((i) => `model.layers.${i}.mlp.down_proj`).join(', ')} and 1 more are no whole blocks of 32; they stay float\n`,
  )
  const result = JSON.parse(stdout)
  const types = typesOf(result)
  assert.equal(types['model.layers.1.self_attn.o_proj'], 'qint8 32')
  assert.equal(types['model.layers.0.mlp.down_proj'], undefined)
  assert.ok(new Set(Object.values(types)).size > 2)
  // Columns of 64 are no blocks of 256: types of 32 stand for those.
  const choices: { override: { type: string } }[] = result.budget.layers[0].choices
  assert.deepEqual(
    choices.map(({ override: { type } }) => type),
    ['Q4_0', 'IQ4_NL', 'Q5_0', 'Q5_1', 'Q8_0'],
  )
  using model = await loadCausalLM(out, { device })
  for (const path of Object.keys(types)) {
    const weight = model.getParameter(`${path}.weight`)
    assert.ok('qtype' in weight && types[path] === `${weight.qtype.name} 32`, path)
  }
})

test('what cannot be is refused in one sentence', async () => {
  const given = ['quantize', stories, '--out', join(root, 'refused')]
  const budget = ['--calibration', text, '--samples', '2', '--length', '32', '--include', '*.0.mlp.*']
  const refusals: [args: string[], message: RegExp][] = [
    [
      ['--weights', 'int4', '--override', 'q_proj'],
      /^lowbit: quantize: --override must be PATTERN=TYPE, PATTERN=TYPE:GROUP, or a \.json file; received q_proj\n$/,
    ],
    [
      ['--weights', 'int4', '--override', '*q_proj=int9'],
      /^lowbit: quantize: the type of --override must be float, int8, int4, .*, or of a GGUF file q4_k and its like; received \*q_proj=int9\n$/,
    ],
    [
      ['--weights', 'int4', '--override', 'mlp=int8'],
      /^lowbit: quantize: overrides: "mlp" must match a module; the nearest are /,
    ],
    [
      [...budget, '--target-bits', '4', '--format', 'hqq', '--group-sizes', '32,48'],
      /^lowbit: save: hqq must be able to hold \S+; .*\n$/,
    ],
    [
      ['--calibration', text, '--weights', 'q4_k', '--algorithm', 'imatrix', '--format', 'gptq'],
      /^lowbit: quantize: --algorithm imatrix goes with --format gguf; received gptq\n$/,
    ],
    [
      [...budget, '--group-size', '32', '--target-bits', '1'],
      /^lowbit: chooseBits: targetBits must be from \d\.\d+, the smallest choice of all layers with its scales, to \d\.\d+, the largest; received 1\n$/,
    ],
  ]
  for (const [args, message] of refusals) {
    const { code, stderr } = await lowbit(...given, ...args)
    assert.equal(code, 1, stderr)
    assert.match(stderr, message)
  }
})
