import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { save } from '../../../src/checkpoints/save.ts'
import { openDevice } from '../../../src/devices/open.ts'
import { chooseBits } from '../../../src/evaluate/chooseBits.ts'
import type { CausalLM } from '../../../src/models/causalLM.ts'
import { loadCausalLM } from '../../../src/models/load.ts'
import { quantizeCalibrated } from '../../../src/models/quantizeCalibrated.ts'
import { awq } from '../../../src/quantize/algorithms/awq.ts'
import { gptaq } from '../../../src/quantize/algorithms/gptaq.ts'
import { gptq } from '../../../src/quantize/algorithms/gptq.ts'
import type { CalibratedAlgorithm } from '../../../src/quantize/calibrated/algorithm.ts'
import { freeze, type QuantizeOptions, quantize } from '../../../src/quantize/quantize.ts'
import { golden, readGolden } from '../../golden.ts'
import { stories } from '../../models/golden.ts'
import { findPython, runJobs } from '../python.ts'
import { checkWeights } from './weights.ts'

/*
 * GPTQ and AWQ folders are read by GPTQModel, AutoAWQ and transformers, live: Python's own and those that we
 * write of any model. The weights that they make of them are ours, bit for bit.
 */

/** What is saved, of Python's codes or of floats that are quantized, in which format, and who reads it. */
interface Variant {
  /** A folder of test/golden/stories260K; absent: the float model. */
  from?: string
  quantize?: QuantizeOptions[]
  /** What quantizes the layers that match `include` by the samples that the golden models saw. */
  algorithm?: CalibratedAlgorithm
  include?: string
  /** Chooses the bits of each of these layers. */
  targetBits?: number
  /** Absent: the folder as it is. */
  format?: string
  tasks: ('gptq' | 'transformers' | 'awq' | 'gemv')[]
}

const scales = { zeroPoints: true, scaleDtype: 'float16' } as const
const symmetric = { ...scales, symmetric: true }
const attention = '*self_attn*'
const groups = { weights: 'int4', groupSize: 32, exclude: ['lm_head', '*down_proj'] } as const
const variants: Record<string, Variant> = {
  "GPTQModel's own": { from: 'gptq-w4-g32-sym', tasks: ['gptq'] },
  "GPTQModel's own, act-order": { from: 'gptq-w4-g32-asym-desc_act', tasks: ['gptq'] },
  "GPTQModel's own, gptq_v2": { from: 'gptq_v2-w4-g32-asym', tasks: ['gptq'] },
  "GPTQModel's own, 8 bits": { from: 'gptq-w8-g32-sym', tasks: ['gptq'] },
  "GPTQModel's own, settings of single layers": { from: 'gptq-mixed', tasks: ['gptq'] },
  // Transformers does not take "mlp", which stays float in it, for a part of a name.
  "AutoAWQ's own": { from: 'awq-gemm-g32-attn', tasks: ['awq'] },
  'symmetric rows': {
    quantize: [{ weights: 'int4', groupSize: null, exclude: 'lm_head', ...symmetric }],
    format: 'gptq',
    tasks: ['gptq', 'transformers'],
  },
  'groups with zero points': { quantize: [{ ...groups, ...scales }], format: 'gptq', tasks: ['gptq'] },
  'groups with zero points, gptq_v2': {
    quantize: [{ ...groups, ...scales }],
    format: 'gptq_v2',
    tasks: ['gptq'],
  },
  '8 and 2 bits': {
    quantize: [
      { weights: 'int8', groupSize: 32, include: attention, scaleDtype: 'float16' },
      { weights: 'int2', groupSize: 64, include: '*_proj', exclude: '*down_proj', ...scales },
    ],
    format: 'gptq',
    tasks: ['gptq'],
  },
  'act-order, from one version to the other': {
    from: 'gptq-w4-g32-asym-desc_act',
    format: 'gptq_v2',
    tasks: ['gptq'],
  },
  'settings of single layers, read and written': { from: 'gptq-mixed', format: 'gptq', tasks: ['gptq'] },
  'AWQ as GPTQ': { from: 'awq-gemm-g32-attn', format: 'gptq', tasks: ['gptq'] },
  'GPTQ, act-order and searched scales': {
    algorithm: gptq({ groupSize: 32, symmetric: false, actOrder: true, scaleSearch: true }),
    include: attention,
    format: 'gptq',
    tasks: ['gptq'],
  },
  'GPTAQ, groups in order': {
    algorithm: gptaq({ bits: 3, groupSize: 32, actOrder: 'group-aware' }),
    include: attention,
    format: 'gptq',
    tasks: ['gptq'],
  },
  'bits by budget': {
    algorithm: gptq({ groupSize: 32, symmetric: false }),
    include: '*layers.[0-2].self_attn.[qv]*',
    targetBits: 4.5,
    format: 'gptq',
    tasks: ['gptq'],
  },
  'AWQ, quantized': {
    quantize: [{ weights: 'int4', groupSize: 32, include: attention, ...scales }],
    format: 'awq',
    tasks: ['awq', 'transformers'],
  },
  'AWQ, scaled and clipped': {
    algorithm: awq({ groupSize: 32 }),
    include: attention,
    format: 'awq',
    tasks: ['awq', 'transformers'],
  },
  'AWQ of rows, symmetric': {
    quantize: [{ weights: 'int4', groupSize: null, include: attention, ...symmetric }],
    format: 'awq',
    tasks: ['awq'],
  },
  'AWQ as gemv': { from: 'awq-gemm-g32-attn', format: 'awq_gemv', tasks: ['gemv'] },
  'gemv, quantized': {
    quantize: [{ weights: 'int4', groupSize: 64, include: attention, ...scales }],
    format: 'awq_gemv',
    tasks: ['gemv'],
  },
}

const folder = mkdtempSync(join(tmpdir(), 'lowbit-gptq-'))
const placeOf = (name: string) => join(folder, name)
const outOf = (name: string, task: string) => `${placeOf(name)} ${task}.safetensors`

before(async () => {
  const jobs: object[] = []
  for (const [name, variant] of Object.entries(variants)) {
    // Python's folders are kept without their tokenizer, which libraries ask for.
    if (variant.format === undefined)
      cpSync(join(golden, 'stories260K', variant.from as string), placeOf(name), { recursive: true })
    else {
      using model = await modelOf(variant)
      await save(model, placeOf(name), { format: variant.format })
    }
    for (const file of ['tokenizer.json', 'tokenizer_config.json'])
      cpSync(join(golden, 'stories260K/quanto-qint4', file), join(placeOf(name), file))
    for (const task of variant.tasks) jobs.push({ task, folder: placeOf(name), out: outOf(name, task) })
  }
  await runJobs(await findPython('gptq'), jobs, folder, 'gptq/peer.py')
})

after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await openDevice().close()
})

for (const [name, variant] of Object.entries(variants)) {
  for (const task of variant.tasks) {
    test(`${name}: ${task} makes our weights of it`, async () => {
      using model = await modelOf(variant)
      await checkWeights(model, await readGolden(outOf(name, task)))
      using again = await loadCausalLM(placeOf(name))
      await checkWeights(again, await readGolden(outOf(name, task)))
    })
  }
}

const inputs = JSON.parse(readFileSync(join(golden, 'stories260K/inputs.json'), 'utf8'))

async function modelOf(variant: Variant): Promise<CausalLM> {
  const { from, quantize: steps = [], algorithm, include, targetBits } = variant
  const model = await loadCausalLM(from ? join(golden, 'stories260K', from) : stories)
  for (const options of steps) quantize(model, options)
  if (steps.length > 0) freeze(model)
  if (!algorithm) return model
  const options = { algorithm, data: inputs.calib_batches.flat(), include }
  const overrides = targetBits ? (await chooseBits(model, { ...options, targetBits })).overrides : undefined
  if (overrides) assert.ok(new Set(Object.values(overrides).map((each) => each?.bits)).size > 1)
  await quantizeCalibrated(model, { ...options, overrides })
  return model
}
