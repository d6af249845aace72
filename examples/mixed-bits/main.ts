// Bits by budget: not every layer needs as many. Each layer is tried alone with each number of bits, the mix
// that loses the least within the budget is chosen, printed, and quantized with GPTQ. Beside it all layers with
// the same bits, and a mix by hand, as overrides by pattern.
//
//     npm run example mixed-bits/main
import {
  type ChosenBits,
  chooseBits,
  gptq,
  type LayerOverrides,
  loadCausalLM,
  quantizeCalibrated,
  save,
} from 'lowbit'
import { readOptions } from '../options.ts'
import { Comparison, readParts, stories, textFlags } from '../texts.ts'

const about = `Chooses the bits of each layer of a language model so that they are 3.5 a weight on average, scales and
zero points counted, and quantizes it with GPTQ. Prints what each layer got, what every other budget would
cost, and compares with all layers alike. Perplexity is of the last third of the text.

MODEL is a folder in Hugging Face layout or a hub id; without it, the model in models/stories260K.`

const { samples, length, positionals, ...flags } = readOptions(
  'mixed-bits/main [MODEL]',
  about,
  {
    bits: [3.5, 'of a weight, on average'],
    group: [32, 'columns that share a scale'],
    ...textFlags,
    out: ['', 'folder to save the model in'],
  },
  1,
)
const { calibration, test } = await readParts(flags.text)
const common = { data: [calibration], samples, length, exclude: 'lm_head' }
const algorithm = (bits: number) =>
  gptq({ bits, groupSize: flags.group, symmetric: false, actOrder: 'static', scaleSearch: true })

/** A line for each block, with the bits of its layers. */
function printLayers({ layers }: ChosenBits): void {
  const blocks = new Map<string, string[]>()
  for (const { path, choices, chosen } of layers) {
    const [, block = '', name = path] = /^(.*\.\d+)\.(.*)$/.exec(path) ?? []
    const { bits, groupSize } = choices[chosen].override
    const text = `${name.slice(name.lastIndexOf('.') + 1)} ${bits}${groupSize === undefined ? '' : `·${groupSize ?? 'row'}`}`
    blocks.set(block, [...(blocks.get(block) ?? []), text])
  }
  for (const [block, names] of blocks) console.log(`${block}: ${names.join(', ')}`)
}

/** What the best mix of every size loses: some of its points, with a bar of the loss's logarithm. */
function printCurve({ curve, ...chosen }: ChosenBits): void {
  const step = Math.max(1, Math.floor(curve.length / 10))
  const others = curve.filter((_, i) => i % step === 0)
  const shown = [...others, chosen].sort((a, b) => a.bitsPerWeight - b.bitsPerWeight)
  const logs = shown.map(({ loss }) => Math.log(loss))
  const [least, most] = [Math.min(...logs), Math.max(...logs)]
  console.log('\nbits   bytes      loss (KL of each layer alone, summed)')
  for (const [i, point] of shown.entries()) {
    const { bitsPerWeight, bytes, loss } = point
    const bar = '█'.repeat(1 + Math.round((30 * (logs[i] - least)) / (most - least || 1)))
    const here = point === chosen ? ' ← chosen' : ''
    console.log(
      `${bitsPerWeight.toFixed(2).padEnd(6)} ${String(bytes).padEnd(10)} ${loss.toFixed(4)} ${bar}${here}`,
    )
  }
}

const float = await loadCausalLM(positionals[0] ?? stories)
const table = new Comparison(float, test, length)
await table.add('float', float)

const chosen = await chooseBits(float, {
  ...common,
  algorithm: algorithm(4),
  targetBits: flags.bits,
  candidates: [2, 3, 4, 5].flatMap((bits) => [{ bits }, { bits, groupSize: null }]),
})
printLayers(chosen)
printCurve(chosen)

const models: [name: string, bits: number, overrides: LayerOverrides][] = [
  ['all layers 3 bits, a scale a row', 3, { '*': { groupSize: null } }],
  ['all layers 3 bits', 3, {}],
  // As llama.cpp's mixtures have it; the first pattern that fits a layer counts.
  ['by hand: two kinds 4 bits', 3, { '*.v_proj': { bits: 4 }, 're:.*(down_proj|c_proj)': { bits: 4 } }],
  [`chosen: ${chosen.bitsPerWeight.toFixed(2)} bits`, 4, chosen.overrides],
  ['all layers 4 bits', 4, {}],
]
for (const [name, bits, overrides] of models) {
  const model = float.clone()
  await quantizeCalibrated(model, { ...common, algorithm: algorithm(bits), overrides })
  await table.add(name, model)
  if (flags.out && overrides === chosen.overrides) await save(model, flags.out, { format: 'gptq' })
  model.dispose()
}
console.log(`\n${table}`)
await float.device.close()
