import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { quantizeCalibrated } from '../../src/models/quantizeCalibrated.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { type GptqOptions, gptq } from '../../src/quantize/algorithms/gptq.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden } from '../golden.ts'

/*
 * stories260K as GPTQModel 7.7 quantized it, with the same token ids: block by block, group by group.
 */

const device = openDevice(deviceNames[0], { threads: 2 })
after(() => device.close())

const root = join(golden, 'stories260K')
const inputs: { calib_batches: number[][][]; ppl_ids: number[] } = JSON.parse(
  await readFile(join(root, 'inputs.json'), 'utf8'),
)
const common = { groupSize: 32, dampPercent: 0.01 } as const
const models: [folder: string, options: GptqOptions][] = [
  ['gptq-w8-g32-sym', { ...common, bits: 8, actOrder: false }],
  ['gptq_v2-w4-g32-asym', { ...common, bits: 4, symmetric: false, actOrder: false }],
  ['gptq-w4-g32-asym-desc_act', { ...common, bits: 4, symmetric: false, actOrder: true }],
]

for (const [folder, options] of models)
  test(`${folder}: the weights that GPTQModel chose, and its perplexity`, async () => {
    const library = await loadCausalLM(join(root, folder), { device })
    const model = await loadCausalLM('models/stories260K', { device })
    const data = inputs.calib_batches.flat()
    await quantizeCalibrated(model, { algorithm: gptq(options), data, exclude: 'lm_head' })
    let [equal, all] = [0, 0]
    for (const [path, weight] of library.namedTensors()) {
      // Behind the first block one code that fell to the other side of a tie changes what all others take.
      if (!(weight instanceof QTensor) || !path.startsWith('model.layers.0.')) continue
      const [theirs, ours] = [
        await weight.dequantize().toNumbers(),
        await model.getParameter(path).dequantize().toNumbers(),
      ]
      // Their file has scales of 16 bits; a code apart is 1 / 128 of the range, or more.
      const largest = Math.max(...theirs.map(Math.abs))
      const isEqual = (value: number, i: number) =>
        Math.abs(value - ours[i]) < 2 ** -10 * Math.abs(value) + 1e-5 * largest
      equal += Array.from(theirs).filter(isEqual).length
      all += theirs.length
    }
    assert.ok(all > 40_000 && equal >= 0.999 * all, `${equal} of ${all}`)
    const measured = async (one: typeof model) =>
      (await perplexity(one, inputs.ppl_ids, { context: 128 })).perplexity
    const [theirs, ours] = [await measured(library), await measured(model)]
    assert.ok(ours <= 1.002 * theirs, `${ours} beside ${theirs}`)
  })
