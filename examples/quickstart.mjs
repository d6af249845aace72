// The main job on the embedded model, start to end: load, quantize, save, load again, measure, generate.
// With --json it prints its rows as one JSON document.
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bench, freeze, generate, loadCausalLM, memoryFootprint, perplexity, quantize, save } from 'lowbit'

const stories = fileURLToPath(new URL('../models/stories260K', import.meta.url))
const text = await readFile(new URL('../models/tinystories.txt', import.meta.url), 'utf8')
const prompt = 'Once upon a time, there was a little girl named Lily.'

const folder = await mkdtemp(join(tmpdir(), 'lowbit-quickstart-'))
const json = process.argv.includes('--json')
const rows = []
try {
  for (const weights of ['float32', 'float8', 'int8', 'int4', 'int2']) {
    let path = stories
    if (weights !== 'float32') {
      const model = await loadCausalLM(stories)
      quantize(model, { weights })
      freeze(model)
      path = join(folder, weights)
      await save(model, path)
      model.dispose()
    }
    const model = await loadCausalLM(path)
    if (rows.length === 0 && !json)
      console.log(`lowbit on ${model.device.name}, ${model.device.threads} thread(s), Node ${process.versions.node}\n`)
    const parameters = [...model.parameters()].reduce((sum, parameter) => sum + parameter.numel, 0)
    const { perplexity: ppl } = await perplexity(model, text, { context: 128 })
    const { decodeTokensPerSecond } = await bench(model, { promptTokens: 16, newTokens: 128 })
    const { text: words } = await generate(model, prompt, { maxNewTokens: 16 })
    rows.push({
      weights,
      'bits/weight': ((8 * memoryFootprint(model)) / parameters).toFixed(2),
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
else printColumns(rows)

async function weightBytes(path) {
  const files = (await readdir(path)).filter((name) => name.endsWith('.safetensors'))
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(path, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

function printColumns(table) {
  const lines = [Object.keys(table[0]), ...table.map((row) => Object.values(row).map(String))]
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const last = widths.length - 1
  for (const line of lines)
    console.log(
      line
        .map((cell, i) => (i === 0 || i === last ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
        .join('  ')
        .trimEnd(),
    )
}
