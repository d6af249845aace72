// LOWBIT_GOLDEN=FOLDER node scripts/copy-golden.mjs: takes from the large golden set what the repository
// keeps of it, the model stories260K: its float weights (models/stories260K), the text of its perplexity
// (models/tinystories.txt), and what optimum-quanto and transformers wrote and computed
// (test/golden/stories260K); of torchao's and HQQ's variants what their tests compare; bitsandbytes' NF4, FP4 and int8; a small GPT-2
// (test/golden/shakespeare-gpt2-1M); one weight through quanto's, torchao's and ggml's quantizers
// (test/golden/single_tensor); and the figures of all of these (test/golden/items.json).
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const golden = process.env.LOWBIT_GOLDEN
if (!golden) {
  console.error('copy-golden: LOWBIT_GOLDEN must name the folder of the golden set')
  process.exit(1)
}
process.chdir(join(import.meta.dirname, '..'))

const model = 'stories260K'
const target = `test/golden/${model}`
const variants = [
  'float',
  'quanto-qint8',
  'quanto-qint4',
  'quanto-qint2',
  'quanto-qfloat8',
  'quanto-qint4-nolmhead',
  'quanto-qint8-a8',
  'quanto-qint4-a8',
]
/** The one folder that is kept whole; the others share its tokenizer. */
const whole = 'quanto-qint4'
const shared = new Set(['tokenizer.json', 'tokenizer_config.json'])

copyFolder(join(golden, model, 'float'), `models/${model}`)
copy(join(golden, model, 'ppl_text.txt'), 'models/tinystories.txt')
mkdirSync(`${target}/expected`, { recursive: true })
copy(join(golden, model, 'inputs.json'), `${target}/inputs.json`)
for (const variant of variants) {
  copy(join(golden, model, 'expected', `${variant}.safetensors`), `${target}/expected/${variant}.safetensors`)
  if (variant !== 'float')
    copyFolder(join(golden, model, variant), `${target}/${variant}`, variant === whole ? undefined : shared)
}

const manifest = JSON.parse(readFileSync(join(golden, 'manifest.json'), 'utf8'))
const { context, stride, n_windows, n_scored_tokens, perplexity_recipe, greedy } = manifest.models[model]
const items = variants.map((variant) => {
  const {
    library,
    version,
    call,
    expected,
    weight_stats,
    quantized_modules = [],
    activation_scales,
    expected_reloaded,
  } = manifest.items.find(({ id }) => id === `${model}/${variant}`)
  const { perplexity, nll, window_nll, greedy_ids, greedy_text, greedy_margins } = expected
  const reloaded = expected_reloaded && {
    perplexity: expected_reloaded.perplexity,
    nll: expected_reloaded.nll,
  }
  const activations = activation_scales && { activation_scales, reloaded }
  return [
    variant,
    {
      library,
      version,
      call,
      perplexity,
      nll,
      window_nll,
      greedy_ids,
      greedy_text,
      greedy_margins,
      quantized_modules,
      weight_stats,
      ...activations,
    },
  ]
})
const kept = {
  context,
  stride,
  n_windows,
  n_scored_tokens,
  perplexity_recipe,
  greedy,
  variants: Object.fromEntries(items),
}
writeFileSync(`${target}/manifest.json`, oneLineLists(JSON.stringify(kept, null, 1)) + '\n')

const gpt2 = 'shakespeare-gpt2-1M'
copyFolder(join(golden, gpt2, 'float'), `test/golden/${gpt2}/float`)
mkdirSync(`test/golden/${gpt2}/expected`, { recursive: true })
for (const name of ['inputs.json', 'ppl_text.txt'])
  copy(join(golden, gpt2, name), `test/golden/${gpt2}/${name}`)
const gpt2Variants = ['float', 'quanto-qint8', 'quanto-qint4', 'quanto-qint8-a8']
for (const variant of gpt2Variants)
  copy(
    join(golden, gpt2, `expected/${variant}.safetensors`),
    `test/golden/${gpt2}/expected/${variant}.safetensors`,
  )

copy(
  join(golden, model, 'expected/quanto-qint4-hqq.safetensors'),
  `${target}/expected/quanto-qint4-hqq.safetensors`,
)
/** Of those without a folder in GPT-2's set, the figures. */
const bitsandbytes = ['bnb-nf4', 'bnb-nf4-dq', 'bnb-fp4', 'bnb-int8']
for (const [name, folders] of [
  [model, bitsandbytes],
  [gpt2, ['bnb-nf4']],
]) {
  for (const variant of folders)
    copyFolder(join(golden, name, variant), `test/golden/${name}/${variant}`, shared)
  for (const variant of bitsandbytes)
    copy(
      join(golden, name, `expected/${variant}.safetensors`),
      `test/golden/${name}/expected/${variant}.safetensors`,
    )
}
/** Folders of other schemes. */
const schemes = [
  'stories260K/awq-gemm-g32-attn',
  'stories260K/gptq-w4-g32-sym',
  'stories260K/gptq-w4-g32-asym-desc_act',
  'stories260K/gptq_v2-w4-g32-asym',
  'stories260K/gptq-w8-g32-sym',
  'shakespeare-gpt2-1M/gptq-w3-g32-sym',
  'shakespeare-gpt2-1M/gptq-w4-g128-sym',
  'stories260K/mlx-w4-g64',
  'stories260K/hqq-w3-g64',
  'stories260K/hqq-w4-g64',
  'stories260K/torchao-int8wo',
  'stories260K/torchao-int8dyn',
  'stories260K/torchao-int4-g32',
  'stories260K/torchao-float8wo',
  'stories260K/ct-w4a16',
  'stories260K/ct-w4a16-asym',
  'stories260K/ct-w8a8',
  'stories260K/ct-fp8',
  'stories260K/ct-fp8-dynamic',
  'stories260K/ct-nvfp4',
  'stories260K/ct-nvfp4a16',
  'stories260K/ct-mxfp4a16',
  'stories260K/fp8-finegrained-b32',
  ...['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0'].map((type) => `stories260K/gguf-${type}`),
  ...['q2_k', 'q4_k', 'q5_k', 'q6_k'].map((type) => `shakespeare-gpt2-1M/gguf-${type}`),
]
for (const id of schemes) {
  const [name, variant] = id.split('/')
  copyFolder(join(golden, id), `test/golden/${id}`, new Set([...shared, 'quant_log.csv', 'recipe.yaml']))
  copy(
    join(golden, name, `expected/${variant}.safetensors`),
    `test/golden/${name}/expected/${variant}.safetensors`,
  )
}

mkdirSync('test/golden/single_tensor', { recursive: true })
for (const name of readdirSync(join(golden, 'single_tensor')))
  if (/^(quanto|torchao)_/.test(name))
    copy(join(golden, 'single_tensor', name), `test/golden/single_tensor/${name}`)
for (const name of readdirSync(join(golden, 'single_tensor')))
  if (/^(awq|smoothquant)_/.test(name))
    copyTensors(
      join(golden, 'single_tensor', name),
      `test/golden/single_tensor/${name}`,
      /^(scales_awq|clip_max_rows0_63|smoothing_factor)$/,
    )
for (const name of readdirSync(join(golden, 'single_tensor')))
  if (name.startsWith('gptq_'))
    copyTensors(
      join(golden, 'single_tensor', name),
      `test/golden/single_tensor/${name}`,
      /^(scales|zeros|g_idx|codes)$/,
    )
copy(join(golden, 'single_tensor/index.json'), 'test/golden/single_tensor/index.json')
copyTensors(
  join(golden, 'single_tensor/inputs.safetensors'),
  'test/golden/single_tensor/inputs.safetensors',
  /^(W(_plain)?|X)$/,
)
copyTensors(
  join(golden, 'single_tensor_ggml/ggml.safetensors'),
  'test/golden/single_tensor/ggml.safetensors',
  /^(W|imatrix|(Q|MX|NV|TQ|IQ4).*\.bytes|(Q|MX|NV|TQ|IQ4)[^.]*\.dequant)$/,
)

const figures = [
  ...gpt2Variants.map((variant) => `${gpt2}/${variant}`),
  `${model}/quanto-qint4-hqq`,
  ...schemes,
  ...[model, gpt2].flatMap((name) => bitsandbytes.map((variant) => `${name}/${variant}`)),
]
const found = manifest.items.filter(({ id }) => figures.includes(id))
writeFileSync('test/golden/items.json', oneLineLists(JSON.stringify(found, null, 1)) + '\n')

/** The tensors of a safetensors file whose names match, in a file of their own. */
function copyTensors(from, to, wanted) {
  const file = readFileSync(from)
  const start = 8 + Number(file.readBigUInt64LE(0))
  const tensors = Object.entries(JSON.parse(file.toString('utf8', 8, start))).filter(([name]) =>
    wanted.test(name),
  )
  const parts = tensors.map(
    ([
      ,
      {
        data_offsets: [begin, end],
      },
    ]) => file.subarray(start + begin, start + end),
  )
  let offset = 0
  const header = tensors.map(([name, tensor], i) => {
    const begin = offset
    offset += parts[i].length
    return [name, { ...tensor, data_offsets: [begin, offset] }]
  })
  const json = JSON.stringify(Object.fromEntries(header))
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(to, Buffer.concat([length, text, ...parts]))
}

/** Lists of numbers and names on one line each. */
function oneLineLists(json) {
  return json.replace(/\[[^[\]{}]*\]/g, (list) => list.replace(/\s*\n\s*/g, ' '))
}

function copyFolder(from, to, except = new Set()) {
  mkdirSync(to, { recursive: true })
  for (const name of readdirSync(from)) if (!except.has(name)) copy(join(from, name), join(to, name))
}

/** Contents only: the golden set may be read-only, the copy is not. */
function copy(from, to) {
  writeFileSync(to, readFileSync(from))
}
