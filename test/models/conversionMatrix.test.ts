import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { relativeError } from '../../src/evaluate/weightError.ts'
import { schemes } from '../../src/formats/schemes/index.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { convert } from '../../src/models/convert.ts'
import { loadCausalLM, type ModelPlace, planCausalLM } from '../../src/models/load.ts'
import { freeze, type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { convertedFiles, sources, targets } from './conversions.ts'

/*
 * Every pair of formats: what was written is what the plan says, tensor by tensor.
 */

const device = openDevice('cpu')
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})

test('every scheme is among the sources, but those of which there is no folder of this model', async () => {
  const found = new Set<string>()
  for (const place of Object.values(sources)) {
    const plan = await planCausalLM(place)
    found.add(plan.scheme)
    await plan.close()
  }
  assert.deepEqual(
    schemes.map(({ name }) => name).filter((name) => !found.has(name)),
    ['awq_gemv', 'mxfp4'],
  )
})

/**
 * One pair of four, each source with other targets than the next; LOWBIT_CONVERSIONS=16 takes one of sixteen,
 * LOWBIT_CONVERSIONS=1 all.
 */
const share = Number(process.env.LOWBIT_CONVERSIONS ?? 4)
const isTaken = (place: number) => place % share === 0

/** Half a step of a dtype, beside the value that is rounded. */
const roundoffs: Readonly<Record<string, number>> = { float16: 2 ** -11, bfloat16: 2 ** -8 }

/** What was written is what was planned; what is said to be exact is equal. */
async function checkPair(source: ModelPlace, to: string): Promise<void> {
  const { tensors, place } = await convertedFiles(source, to, device)
  using before = await loadCausalLM(source, {
    device,
    dequantize: true,
    dtype: 'float32',
    onWarning: () => {},
  })
  using made = await loadCausalLM(place, { device, dequantize: true, dtype: 'float32', onWarning: () => {} })
  for (const { path, exact, error, to: dtype } of tensors) {
    const measured = await relativeError(before.getParameter(path), made.getParameter(path))
    if (exact) assert.deepEqual([error, measured], [0, 0], path)
    else if (error !== null)
      assert.ok(Math.abs(measured - error) <= 2 ** -9, `${path}: ${measured}, planned ${error}`)
    // A float that is rounded to halves has no planned error; none of its values is farther away than this.
    else assert.ok(measured <= (roundoffs[dtype] ?? 0), `${path}: ${measured} as ${dtype}`)
  }
}

for (const [i, [name, source]] of Object.entries(sources).entries())
  describe(name, () => {
    for (const to of targets.filter((_, j) => isTaken(i + j))) test(`→ ${to}`, () => checkPair(source, to))
  })

/** Folders of a model of bfloat16, whose weights are rounded to it. */
const halves: readonly [format: string, options: QuantizeOptions][] = [
  [
    'compressed-tensors',
    { weights: 'int4', groupSize: 32, algorithm: 'minmax', zeroPoints: true, symmetric: true },
  ],
  ['quanto', { weights: 'int8' }],
  ['hqq', { weights: 'int4', groupSize: 64, algorithm: 'hqqZeros' }],
]

for (const [format, options] of halves)
  test(`${format} in bfloat16 → integers and blocks: what is said to be exact is`, async () => {
    const files = new Map<string, Uint8Array>()
    using model = await loadCausalLM(sources.floats, { device, dtype: 'bfloat16' })
    quantize(model, { ...options, exclude: ['lm_head', '*.down_proj'] })
    freeze(model)
    await save(model, memoryFolder(files), { format })
    for (const to of ['gptq', 'awq', 'bnb-int8', 'compressed-tensors', 'hqq', 'mlx', 'gguf:q8_0'])
      await checkPair(memoryFolder(files), to)
  })

test('what layers must have in common is refused before a plan is shown', async () => {
  const files = new Map<string, Uint8Array>()
  using model = await loadCausalLM(sources.floats, { device })
  const scales = { zeroPoints: true, scaleDtype: 'float16' } as const
  quantize(model, { weights: 'int4', ...scales, groupSize: 32, include: '*.q_proj' })
  quantize(model, { weights: 'int4', ...scales, groupSize: 64, include: '*.k_proj' })
  freeze(model)
  await save(model, memoryFolder(files), { format: 'gptq', onWarning: () => {} })
  let shown = false
  const onPlan = () => {
    shown = true
  }
  const converting = convert(memoryFolder(files), memoryFolder(new Map()), { to: 'awq', device, onPlan })
  await assert.rejects(converting, { name: 'FormatError', message: /AWQ must have groups of one size/ })
  assert.equal(shown, false)
})
