// The main job on the embedded model, start to end: load, quantize, save, load again, measure, generate.
// `npm run quickstart` builds what it needs and runs it.
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bench, Embedding, freeze, generate, Linear, loadCausalLM, perplexity, quantize, save } from 'lowbit'

if (process.argv.includes('--help')) {
  console.log(`node examples/quickstart.mjs [--json]

Quantizes the embedded language model in three ways and shows beside it what each costs and gives:
the size of the file, the perplexity on the text in models/, tokens per second, and how a story goes
on. "npm run quickstart" builds what this needs, and runs it.

  --json   print the rows as one JSON document

Everything it reads is in this repository: models/stories260K and models/tinystories.txt.`)
  process.exit()
}
const json = process.argv.includes('--json')

const stories = fileURLToPath(new URL('../models/stories260K', import.meta.url))
const text = await readFile(new URL('../models/tinystories.txt', import.meta.url), 'utf8')
const prompt = 'Once upon a time, there was a little girl named Lily.'

/** What becomes of the weights, of embedding and head, and how: calls of `quantize`, one after the other. */
const settings = [
  { weights: 'float32', embedding: 'float32', steps: [] },
  { weights: 'int8', embedding: 'float32', steps: [{ weights: 'int8', exclude: 'lm_head' }] },
  { weights: 'int4', embedding: 'float32', steps: [{ weights: 'int4', exclude: 'lm_head' }] },
  {
    weights: 'int4',
    embedding: 'int8',
    steps: [
      { weights: 'int4', exclude: 'lm_head' },
      { weights: 'int8', layers: [Linear, Embedding] },
    ],
  },
]

const folder = await mkdtemp(join(tmpdir(), 'lowbit-quickstart-'))
const rows = []
try {
  for (const { weights, embedding, steps } of settings) {
    let path = stories
    if (steps.length > 0) {
      const model = await loadCausalLM(stories)
      for (const step of steps) quantize(model, step)
      freeze(model)
      path = join(folder, `${weights}-${embedding}`)
      // Python's quanto has no quantized embedding, which this would be told of.
      await save(model, path, { onWarning() {} })
      model.dispose()
    }
    const model = await loadCausalLM(path)
    if (rows.length === 0 && !json) {
      const parameters = [...model.parameters()].reduce((sum, parameter) => sum + parameter.numel, 0)
      const { name, threads } = model.device
      console.log(`lowbit on ${name}, ${threads} thread(s), Node ${process.versions.node}`)
      console.log(`stories260K, a language model of ${parameters.toLocaleString('en')} parameters:\n`)
    }
    const { perplexity: ppl } = await perplexity(model, text, { context: 128 })
    const { decodeTokensPerSecond } = await bench(model, { promptTokens: 16, newTokens: 128 })
    const { text: words } = await generate(model, prompt, { maxNewTokens: 16 })
    rows.push({
      weights,
      'embedding, head': embedding,
      'file kB': Math.round((await weightBytes(path)) / 1000),
      perplexity: ppl.toFixed(3),
      'tokens/s': Math.round(decodeTokensPerSecond),
      [`"${prompt.slice(0, 16)} …" goes on`]: words,
    })
    model.dispose()
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
if (json) console.log(JSON.stringify(rows, null, 2))
else {
  printColumns(rows)
  console.log(`
The lower the perplexity, the better the model foretells the text. Embedding and head share one
table, which stays one as float32; quantized, they are two. Next: quantize a model yourself, and
look at what became of it, with

  npx lowbit quantize models/stories260K --weights int4 --exclude lm_head --out stories-int4
  npx lowbit inspect stories-int4 --baseline models/stories260K`)
}

async function weightBytes(path) {
  const files = (await readdir(path)).filter((name) => name.endsWith('.safetensors'))
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(path, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

function printColumns(table) {
  const lines = [Object.keys(table[0]), ...table.map((row) => Object.values(row).map(String))]
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const isText = widths.map((_, column) => lines.slice(1).some((line) => !/^[\d.]+$/.test(line[column])))
  for (const line of lines)
    console.log(
      line
        .map((cell, i) => (isText[i] ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
        .join('  ')
        .trimEnd(),
    )
}
