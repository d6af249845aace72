// npm run example [NAME [-- OPTIONS]]: runs an example on this repository's sources, or lists them.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const examples = {
  quickstart: 'a language model quantized in three ways, and what each costs and gives',
  inspect: 'what quantization does to one layer: codes, scales, errors',
  'gpt2-absmax': 'absolute-maximum quantization by hand: text, perplexity and histograms before and after',
  'toy-linear': "torchao's first steps: two layers, quantized by a recipe; size and time",
  'mnist/mlp':
    'a perceptron trained, quantized, calibrated, tuned, frozen, loaded again (after "npm run examples:data")',
  'mnist/cnn': 'the same with convolutions',
  'cifar/main': 'a ResNet-20 in 8, 4 and 2 bits, with activations of 8',
  'cifar/calibrated': 'the same in 4, 3 and 2 bits by calibration alone: rounded, GPTQ, rounding trained',
  'gptq/main': 'GPTQ: a language model quantized on a text, saved, loaded, asked; beside rounding',
  'awq/main': 'AWQ: the factors of channels, what they and clipping give, saved, loaded, asked',
  'mixed-bits/main':
    'bits by budget: what each layer gets at 3.5 bits a weight, the curve, and overrides by hand',
  'smoothquant/main': 'SmoothQuant: weights and activations of 8 bits, plain and smoothed',
  'qwen2-instruct/main': 'a Qwen2 that answers, quantized, saved and loaded again: answers, files, memory',
  'browser/build': 'the page that quantizes in the browser, as files',
  'browser/serve': 'shows that page',
}

const [name, ...options] = process.argv.slice(2)
if (name === undefined || name === '--help') {
  const width = Math.max(...Object.keys(examples).map((example) => example.length))
  for (const [example, about] of Object.entries(examples))
    console.log(`npm run example ${example.padEnd(width)}  ${about}`)
  console.log('\n"npm run example NAME -- --help" says more.')
  process.exit()
}
const known = name.replace(/\.(ts|mjs)$/, '')
if (!(known in examples)) {
  console.error(`example: the name must be one of ${Object.keys(examples).join(', ')}; received ${name}`)
  process.exit(1)
}
const file = fileURLToPath(
  new URL(`../examples/${known}${known === 'quickstart' ? '.mjs' : '.ts'}`, import.meta.url),
)
process.exitCode =
  spawnSync(process.execPath, ['--conditions=lowbit-source', file, ...options], { stdio: 'inherit' })
    .status ?? 1
