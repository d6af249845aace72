import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import type { FloatDType } from '../../src/core/dtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { readBytes } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { setComputeDtype } from '../../src/nn/qmodule.ts'
import { inputs, stories } from '../models/golden.ts'
import { logitsOf } from '../models/goldenChecks.ts'
import { type BitsAndBytesJob, findPython, runJobs } from './python.ts'

/*
 * Folders change hands with Python's bitsandbytes, by way of transformers, live: the tensors of ours are its
 * own, byte by byte; what it loads of ours are the weights that we meant, to the last bit, and the logits of
 * a float32 model of them are near ours.
 */
interface Variant {
  dtype: FloatDType
  kind: 'nf4' | 'fp4' | 'int8'
  doubleQuant: boolean
  skipModules?: string[]
}

const variants: Variant[] = [
  { dtype: 'float32', kind: 'nf4', doubleQuant: false },
  { dtype: 'float32', kind: 'nf4', doubleQuant: true },
  { dtype: 'float32', kind: 'fp4', doubleQuant: true },
  { dtype: 'float16', kind: 'nf4', doubleQuant: true },
  { dtype: 'bfloat16', kind: 'nf4', doubleQuant: false },
  { dtype: 'bfloat16', kind: 'fp4', doubleQuant: false },
  {
    dtype: 'float32',
    kind: 'nf4',
    doubleQuant: false,
    skipModules: ['lm_head', 'down_proj', 'model.layers.1'],
  },
  { dtype: 'float32', kind: 'int8', doubleQuant: false },
  { dtype: 'float16', kind: 'int8', doubleQuant: false, skipModules: ['lm_head', 'model.layers.3'] },
]

const folder = mkdtempSync(join(tmpdir(), 'lowbit-bitsandbytes-'))
const nameOf = ({ dtype, kind, doubleQuant, skipModules }: Variant) =>
  [dtype, kind, ...(doubleQuant ? ['double'] : []), ...(skipModules ? ['skipping'] : [])].join(' ')
const oursIn = (variant: Variant) => join(folder, `ours ${nameOf(variant)}`)
const pythonsIn = (variant: Variant) => join(folder, `python ${nameOf(variant)}`)
const outOf = (place: string) => `${place}.safetensors`

before(async () => {
  const python = await findPython()
  const jobs: BitsAndBytesJob[] = []
  for (const variant of variants) {
    const { dtype, kind, doubleQuant, skipModules = null } = variant
    using model = await quantized(variant)
    await save(model, oursIn(variant))
    const types = { load_in_4bit: true, bnb_4bit_quant_type: kind, bnb_4bit_use_double_quant: doubleQuant }
    const config = {
      ...(kind === 'int8' ? { load_in_8bit: true } : types),
      llm_int8_skip_modules: skipModules,
    }
    jobs.push({ task: 'write', float: stories, dtype, config, folder: pythonsIn(variant) })
    for (const place of [oursIn(variant), pythonsIn(variant)])
      jobs.push({ task: 'read', folder: place, ids: inputs.prompt_ids, out: outOf(place) })
  }
  await runJobs(python, jobs, folder, 'bitsandbytes_peer.py')
})

after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await openDevice().close()
})

for (const variant of variants) {
  test(`${nameOf(variant)}: our tensors are Python's, byte by byte`, async () => {
    const [ours, theirs] = await Promise.all([oursIn(variant), pythonsIn(variant)].map(weightsOf))
    assert.ok(ours.equals(theirs))
  })
  test(`${nameOf(variant)}: what we save, Python reads as we meant it`, async () => {
    using model = await quantized(variant)
    await compare(model, oursIn(variant), variant)
  })
  test(`${nameOf(variant)}: what Python saves, we read as it meant it`, async () => {
    using model = await loadCausalLM(pythonsIn(variant))
    await compare(model, pythonsIn(variant), variant)
  })
}

async function quantized({ dtype, kind, doubleQuant, skipModules }: Variant): Promise<CausalLM> {
  const method = { method: 'bitsandbytes', skipModules } as const
  if (kind === 'int8') return loadCausalLM(stories, { dtype, quantization: { ...method, loadIn8bit: true } })
  const type = { loadIn4bit: true, bnb4bitQuantType: kind, bnb4bitUseDoubleQuant: doubleQuant }
  return loadCausalLM(stories, { dtype, quantization: { ...method, ...type } })
}

async function weightsOf(place: string): Promise<Buffer> {
  return Buffer.from(await readBytes(diskFolder(place), 'model.safetensors', 10_000_000))
}

/** Our model against what Python recorded about the folder. */
async function compare(model: CausalLM, place: string, variant: Variant): Promise<void> {
  const file = await openSafetensors(await diskFolder(folder).open(basename(outOf(place))))
  let equal = 0
  for (const [path, parameter] of model.namedParameters()) {
    const float = parameter.dequantize()
    assert.equal(file.tensors.get(path)?.dtype, float.dtype, path)
    assert.ok(Buffer.from(await float.readBytes()).equals(await file.read(path)), `${path} differs`)
    equal++
    if (parameter !== float) float.dispose()
  }
  assert.equal(equal, file.tensors.size - 1, 'every weight that Python has')
  const python = new Float32Array((await file.read('logits')).slice().buffer)
  await file.close()
  // Of 16 bits Python's weights are rounded once more than ours are in products.
  if (variant.dtype !== 'float32') return
  setComputeDtype(model, 'float32')
  const ours = await logitsOf(model, inputs.prompt_ids)
  assert.equal(ours.length, python.length)
  // Float32 through five layers on both sides: the golden tests hold the tighter bound against float64.
  const largest = python.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0)
  for (const [i, logit] of ours.entries())
    assert.ok(Math.abs(logit - python[i]) <= 1e-5 * largest, `logit ${i}: ${logit}, not ${python[i]}`)
}
