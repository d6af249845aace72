import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { save } from '../../../src/checkpoints/save.ts'
import { e2m1, qfloat8_e4m3fn, qint3, qint4, qint8 } from '../../../src/core/qtype.ts'
import { openDevice } from '../../../src/devices/open.ts'
import { diskFolder } from '../../../src/formats/file.node.ts'
import { loadCausalLM } from '../../../src/models/load.ts'
import { freeze, type QuantizeOptions, quantize } from '../../../src/quantize/quantize.ts'
import { golden, readGolden } from '../../golden.ts'
import { inputs, stories } from '../../models/golden.ts'
import { logitsOf } from '../../models/goldenChecks.ts'
import { checkWeights } from '../gptq/weights.ts'
import { findPython, runJobs } from '../python.ts'

/*
 * Folders that lowbit writes are read by compressed-tensors and transformers, live: equal weights, and
 * logits.
 */

const exclude = ['lm_head', '*.down_proj']
const int4 = { weights: qint4, groupSize: 32, algorithm: 'minmax', zeroPoints: true, exclude } as const
const float8 = { weights: qfloat8_e4m3fn, algorithm: 'minmax', exclude: 'lm_head' } as const

/** Quantized by lowbit as its targets are, and written. */
const made: Record<string, QuantizeOptions & { format?: string }> = {
  w4: { ...int4, symmetric: true },
  'w4-asym': int4,
  'w3-asym': { ...int4, weights: qint3 },
  w4a8: { ...int4, symmetric: true, computeDtype: 'int8PerToken' },
  w8: { weights: qint8, groupSize: 32, algorithm: 'minmax', exclude },
  w8a8: {
    weights: qint8,
    groupSize: null,
    algorithm: 'minmax',
    computeDtype: 'int8PerToken',
    exclude: 'lm_head',
  },
  fp8: { ...float8, groupSize: null, computeDtype: 'float8PerToken' },
  mxfp4: { weights: e2m1, groupSize: 32, algorithm: 'mxfp4Minmax', exclude },
  nvfp4: { weights: e2m1, groupSize: 16, algorithm: 'nvfp4Minmax', exclude },
  'fp8-block': { ...float8, exclude, groupSize: 32, blockRows: 32 },
  'fp8-fine': {
    ...float8,
    exclude: ['lm_head', '*.mlp.*'],
    groupSize: 32,
    blockRows: 32,
    scaleDtype: 'float32',
    format: 'fp8',
  },
}

/** Folders of other libraries, whose codes go over as they are. */
const converted = ['ct-w4a16-asym', 'ct-w8a8', 'ct-fp8', 'ct-mxfp4a16', 'ct-nvfp4a16', 'torchao-int4-g32']

const folder = mkdtempSync(join(tmpdir(), 'lowbit-compressed-'))
const place = (name: string) => join(folder, name)
const quiet = { onWarning: () => {} }

before(async () => {
  for (const [name, { format = 'compressed-tensors', ...options }] of Object.entries(made)) {
    using model = await loadCausalLM(stories)
    quantize(model, options)
    freeze(model)
    await save(model, place(name), { format, ...quiet })
  }
  for (const name of converted) {
    using model = await loadCausalLM(diskFolder(join(golden, 'stories260K', name)), quiet)
    await save(model, place(name), { format: 'compressed-tensors', ...quiet })
  }
  const jobs = [...Object.keys(made), ...converted].map((name) => ({
    task: made[name]?.format ?? 'compressed',
    folder: place(name),
    // compressed-tensors 0.20 loads no zero points that it packed itself, and bfloat16 in a model of float32.
    ...(!/asym|fp4/.test(name) && { ids: inputs.prompt_ids }),
    out: `${place(name)}.safetensors`,
  }))
  await runJobs(await findPython('compressed'), jobs, folder, 'compressed/peer.py')
})

after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await openDevice().close()
})

for (const name of [...Object.keys(made), ...converted]) {
  test(`${name}: the library makes our weights of the folder`, async () => {
    const python = await readGolden(`${place(name)}.safetensors`)
    const logits = python.get('logits')
    python.delete('logits')
    using model = await loadCausalLM(place(name), quiet)
    await checkWeights(model, python)
    if (!logits) return
    // Codes of inputs that fall on the other side of a half move logits by more than float32 does.
    const bound = name === 'fp8' ? 0.1 : /w[48]a8$/.test(name) ? 0.05 : 1e-5
    const ours = await logitsOf(model, inputs.prompt_ids)
    const farthest = ours.reduce((most, logit, i) => Math.max(most, Math.abs(logit - logits.values[i])), 0)
    const largest = ours.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0)
    assert.ok(farthest < bound * largest, `logits differ by ${farthest} of ${largest}`)
  })
}
