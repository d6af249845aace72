// LOWBIT_GOLDEN=FOLDER node scripts/copy-golden.mjs: takes from the large golden set what the repository
// keeps of it, the model stories260K: its float weights (models/stories260K), the text of its perplexity
// (models/tinystories.txt), and what optimum-quanto and transformers wrote and computed
// (test/golden/stories260K).
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
