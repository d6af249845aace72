import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { type FloatDType, viewAs } from '../../src/core/dtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { freeze, type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { forward64, readPlain } from '../models/float64Llama.ts'
import { inputs, stories } from '../models/golden.ts'
import { checkLogits, logitFactor, logitsOf } from '../models/goldenChecks.ts'
import { findPython, type Job, runJobs } from './python.ts'

/*
 * Folders change hands with Python's optimum-quanto, live: ours are read by
 * QuantizedModelForCausalLM.from_pretrained, its are read by us. All dequantized weights must be the same to
 * the last bit, and our logits as near to the float64 forward pass as PyTorch's are. Models of 16 bits are
 * computed in float32 on both sides, with the weights scale · q − shift not rounded to 16 bits.
 */
interface Variant {
  /** The float model, and a prompt within its vocabulary. */
  model: keyof typeof models
  dtype: FloatDType
  weights: string & QuantizeOptions['weights']
  exclude?: string
}

const models = {
  stories260K: { place: stories, ids: inputs.prompt_ids },
  // Layers of 160, 192 and 256 columns: groups of 32, 96 and 128.
  groups: { place: join(import.meta.dirname, '../golden/quanto/groups'), ids: [1, 17, 42, 5, 63, 0, 33, 8] },
}

const variants: Variant[] = [
  { model: 'stories260K', dtype: 'float32', weights: 'int8' },
  { model: 'stories260K', dtype: 'float32', weights: 'int4' },
  { model: 'stories260K', dtype: 'float32', weights: 'int4', exclude: 'lm_head' },
  { model: 'stories260K', dtype: 'float32', weights: 'int2' },
  { model: 'stories260K', dtype: 'float32', weights: 'float8' },
  { model: 'stories260K', dtype: 'float32', weights: 'float8_e5m2' },
  { model: 'stories260K', dtype: 'float16', weights: 'int8' },
  { model: 'stories260K', dtype: 'float16', weights: 'int4' },
  { model: 'stories260K', dtype: 'bfloat16', weights: 'int8' },
  { model: 'stories260K', dtype: 'bfloat16', weights: 'int4' },
  { model: 'groups', dtype: 'float32', weights: 'int4' },
  { model: 'groups', dtype: 'float32', weights: 'int2' },
]

const folder = mkdtempSync(join(tmpdir(), 'lowbit-interop-'))
const nameOf = ({ model, dtype, weights, exclude }: Variant) =>
  [model, dtype, weights, ...(exclude ? [`without ${exclude}`] : [])].join(' ')
const oursIn = (variant: Variant) => join(folder, `ours ${nameOf(variant)}`)
const pythonsIn = (variant: Variant) => join(folder, `python ${nameOf(variant)}`)
const outOf = (place: string) => `${place}.safetensors`
const rows: Record<string, string>[] = []

before(async () => {
  const python = await findPython()
  const jobs: Job[] = []
  for (const variant of variants) {
    const { place, ids } = models[variant.model]
    using model = await quantized(variant)
    await save(model, oursIn(variant))
    jobs.push({ task: 'read', folder: oursIn(variant), ids, out: outOf(oursIn(variant)) })
    jobs.push({
      task: 'write',
      float: place,
      ...variant,
      folder: pythonsIn(variant),
      ids,
      out: outOf(pythonsIn(variant)),
    })
  }
  await runJobs(python, jobs, folder)
})

after(async () => {
  console.table(rows)
  rmSync(folder, { recursive: true, force: true })
  await openDevice().close()
})

for (const variant of variants) {
  test(`${nameOf(variant)}: what we save, Python reads as we meant it`, async () => {
    using model = await quantized(variant)
    await compare(model, oursIn(variant), variant, 'lowbit → Python')
  })

  test(`${nameOf(variant)}: what Python saves, we read as it meant it`, async () => {
    using model = await loadCausalLM(pythonsIn(variant))
    await compare(model, pythonsIn(variant), variant, 'Python → lowbit')
  })
}

async function quantized({ model: name, dtype, weights, exclude }: Variant): Promise<CausalLM> {
  const model = await loadCausalLM(models[name].place, { dtype })
  quantize(model, { weights, exclude })
  freeze(model)
  return model
}

/** Our model against what Python recorded about the folder. */
async function compare(model: CausalLM, place: string, variant: Variant, direction: string): Promise<void> {
  const { ids } = models[variant.model]
  const row: Record<string, string> = { model: nameOf(variant), direction }
  rows.push(row)
  const file = await openSafetensors(await diskFolder(folder).open(basename(outOf(place))))
  let equal = 0
  for (const [path, parameter] of model.namedParameters()) {
    const float = parameter.dequantize()
    assert.equal(file.tensors.get(path)?.dtype, float.dtype, path)
    assert.ok(Buffer.from(await float.readBytes()).equals(await file.read(path)), `${path} differs`)
    equal++
    if (!(parameter instanceof Tensor)) float.dispose()
  }
  assert.equal(equal, file.tensors.size - 1, 'every weight that Python has')
  row.weights = `${equal} bit-equal`
  const python = viewAs('float32', await file.read('logits')) as Float32Array
  await file.close()
  const truth = forward64(await readPlain(diskFolder(place)), ids)
  const errors = checkLogits(await logitsOf(model, ids), python, truth)
  row['logit error'] = errors.ours.toExponential(1)
  row["PyTorch's"] = errors.python.toExponential(1)
  row[`worst ratio (≤ ${logitFactor})`] = errors.worst.toFixed(2)
}
