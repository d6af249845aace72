// Absolute-maximum quantization by hand: every parameter of a language model becomes round(127 / max|X| · X),
// 8 bits, one scale for all of it, and is put back as what these codes stand for. Text, perplexity and
// histograms before and after.
//
// This is the formula of the tutorials, without rows or groups. It is not quanto's: for that see
// quantize(model, { weights: 'int8' }).
//
//     npm run example gpt2-absmax
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { generate, loadCausalLM, perplexity, Tensor } from 'lowbit'
import { readOptions } from './options.ts'

const about = `Quantizes every parameter of a language model to 8 bits by hand, as tutorials do with GPT-2: codes =
round(127 / max|X| · X). Shows text and perplexity before and after, and draws histograms of the
weights.

MODEL is a folder in Hugging Face layout or a hub id; without it, the model in models/stories260K.
The tutorials' own is openai-community/gpt2 (548 MB, from the hub).`

const { prompt, tokens, out, positionals } = readOptions(
  'gpt2-absmax [MODEL]',
  about,
  {
    prompt: ['Once upon a time', 'the beginning of the text'],
    tokens: [40, 'how many to write'],
    out: ['build/histograms.svg', 'file of the histograms'],
  },
  1,
)
const stories = fileURLToPath(new URL('../models/stories260K', import.meta.url))
const model = await loadCausalLM(positionals[0] ?? stories, { dtype: 'float32' })

/** codes = round(127 / max|X| · X), and what they stand for, codes · max|X| / 127; zeros stay zeros. */
function absmaxQuantize(values: ArrayLike<number>): { codes: Int8Array; dequantized: Float32Array } {
  let largest = 0
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i]))
  const scale = largest === 0 ? 1 : 127 / largest
  const codes = Int8Array.from(values, (value) => Math.round(scale * value))
  return { codes, dequantized: Float32Array.from(codes, (code) => code / scale) }
}

const bins = 120
/** How many weights fall into each bin of −range … range. */
function count(histogram: Float64Array, values: ArrayLike<number>, range: number): void {
  for (let i = 0; i < values.length; i++) {
    const bin = Math.floor(((values[i] + range) / (2 * range)) * bins)
    if (bin >= 0 && bin < bins) histogram[bin]++
  }
}

/** Two histograms, one above the other, as SVG. */
function draw(panels: [title: string, histogram: Float64Array][], range: number): string {
  const [width, height, left] = [640, 200, 40]
  const bars = (histogram: Float64Array) => {
    const most = Math.max(...histogram)
    return [...histogram].map((n, i) => {
      const size = (150 * n) / most
      return `<rect x="${left + i * (560 / bins)}" y="${(170 - size).toFixed(2)}" width="${560 / bins - 0.5}" height="${size.toFixed(2)}"/>`
    })
  }
  const ticks = [-1, -0.5, 0, 0.5, 1].map(
    (t) =>
      `<text x="${left + 280 * (1 + t)}" y="188" text-anchor="middle">${(t * range).toPrecision(2)}</text>`,
  )
  const groups = panels.map(([title, histogram], i) => {
    const axis = `<path d="M${left} 170h560" stroke="#888"/>`
    return `<g transform="translate(0 ${i * height})"><text x="${left}" y="14">${title}</text>${axis}<g fill="#4269d0">${bars(histogram).join('')}</g>${ticks.join('')}</g>`
  })
  const size = `viewBox="0 0 ${width} ${panels.length * height}" width="${width}" height="${panels.length * height}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>${groups.join('')}</svg>\n`
}

const continuation = async () => (await generate(model, prompt, { maxNewTokens: tokens })).text
const before = await continuation()
const ids = [...(model.tokenizer?.encode(prompt + before) ?? [])]
const surprise = async () => (await perplexity(model, ids, { context: ids.length })).perplexity
const surpriseBefore = await surprise()

// Three standard deviations of all weights.
const parameters = [...model.parameters()].filter((parameter) => parameter instanceof Tensor)
let [squares, total] = [0, 0]
for (const parameter of parameters) {
  for (const value of await parameter.toNumbers()) squares += value * value
  total += parameter.numel
}
const range = 3 * Math.sqrt(squares / total)

const histograms = [new Float64Array(bins), new Float64Array(bins)]
for (const parameter of parameters) {
  const values = await parameter.toNumbers()
  const { dequantized } = absmaxQuantize(values)
  count(histograms[0], values, range)
  count(histograms[1], dequantized, range)
  parameter.write(new Uint8Array(dequantized.buffer))
}
await writeFile(
  out,
  draw(
    [
      ['Weights', histograms[0]],
      ['Dequantized', histograms[1]],
    ],
    range,
  ),
)

console.log(`Before (${((4 * total) / 2 ** 20).toFixed(1)} MB):\n${prompt}${before}\n`)
console.log(`After (${(total / 2 ** 20).toFixed(1)} MB as int8):\n${prompt}${await continuation()}\n`)
console.log(
  `Perplexity of the first text: ${surpriseBefore.toFixed(2)} before, ${(await surprise()).toFixed(2)} after`,
)
console.log(`Histograms: ${out}`)
await model.device.close()
