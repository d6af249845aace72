import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { quantizeCalibrated } from '../../src/models/quantizeCalibrated.ts'
import { type GptqOptions, gptq } from '../../src/quantize/algorithms/gptq.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden, goldenItem } from '../golden.ts'

/*
 * Models quantized with the calibration ids that GPTQModel had, at its bits, groups and zero points, beside
 * what it wrote. Two runs that differ in a rounding differ by 1 % in perplexity here, so that ours is
 * compared with searched scales, which are better by more than that.
 */

const device = openDevice(deviceNames[0], { threads: 2 })
after(() => device.close())

const stories = join(import.meta.dirname, '../../models/stories260K')
const gpt2 = 'shakespeare-gpt2-1M'
const recipe: GptqOptions = { groupSize: 32, actOrder: 'group-aware', scaleSearch: true }

async function quantized(model: string, float: string, options: GptqOptions) {
  const folder = join(golden, model)
  const { ppl_ids: ids, calib_batches: batches } = JSON.parse(
    readFileSync(join(folder, 'inputs.json'), 'utf8'),
  ) as { ppl_ids: number[]; calib_batches: number[][][] }
  const ours = await loadCausalLM(float, { device })
  const algorithm = gptq({ ...recipe, ...options })
  await quantizeCalibrated(ours, { algorithm, data: batches.flat(), exclude: 'lm_head' })
  return { ours, ids, folder }
}

for (const [variant, symmetric] of [
  ['gptq-w4-g32-sym', true],
  ['gptq_v2-w4-g32-asym', false],
] as const) {
  test(`stories260K as ${variant}: no more perplexity`, async () => {
    const { ours, ids } = await quantized('stories260K', stories, { bits: 4, symmetric })
    const { expected } = goldenItem<{ id: string; expected: { perplexity: number } }>(
      `stories260K/${variant}`,
    )
    const measured = await perplexity(ours, ids, { context: 128 })
    const most = 1.002 * expected.perplexity
    assert.ok(measured.perplexity <= most, `${measured.perplexity} must be at most ${most}`)
    ours.dispose()
  })
}

test('shakespeare-gpt2 as gptq-w3-g32-sym: the logits lie no farther from the float ones', async () => {
  const { ours, ids, folder } = await quantized(gpt2, join(golden, gpt2, 'float'), {
    bits: 3,
    symmetric: true,
  })
  const baseline = await loadCausalLM(join(folder, 'float'), { device })
  const theirs = await loadCausalLM(join(folder, 'gptq-w3-g32-sym'), { device })
  const distance = async (model: typeof ours) =>
    (await perplexity(model, ids, { context: 256, baseline })).klDivergence as number
  const [kl, most] = [await distance(ours), 1.02 * (await distance(theirs))]
  assert.ok(kl <= most, `${kl} must be at most ${most}`)
  for (const model of [ours, baseline, theirs]) model.dispose()
})
