import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { requantize } from '../../src/checkpoints/stateDict.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { maps, Plain, Shared, Single, stateOf, Tied, valuesOf } from '../models/moduleGolden.ts'
import { findPython, type Job, runJobs } from './python.ts'

/*
 * What we save of models with shared layers, tied weights, layers without parameters and layers with one
 * output is read by Python's requantize, which computes what we compute.
 */

const device = openDevice()
const folder = mkdtempSync(join(tmpdir(), 'lowbit-modules-'))
after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await device.close()
})

const models = { Shared, Tied, Plain, Single }
const variants = [
  { model: 'Shared', weights: 'int8', input: 'shared.x' },
  { model: 'Tied', weights: 'int8', input: 'tied.x' },
  { model: 'Plain', weights: 'int8', activations: 'int8', input: 'plain.x' },
  // One scale for the row, where quanto gives every column one.
  { model: 'Single', weights: 'int4', input: 'single4.x' },
  { model: 'Single', weights: 'int2', input: 'single2.x' },
  // What quanto itself chose, read and written again.
  { model: 'Single', golden: 'single4', input: 'single4.x' },
] as const

test('Python computes with our folders what we compute', async () => {
  const jobs: Job[] = []
  const ours: Float32Array[] = []
  for (const [i, { model: name, input, ...options }] of variants.entries()) {
    const model = new models[name]()
    const { values, shape } = valuesOf(input)
    const x = Tensor.fromArray(device, values.slice(), shape)
    if ('golden' in options)
      await requantize(model, stateOf(options.golden), maps[options.golden], { device })
    else {
      initialize(model, device, { seed: 1 })
      quantize(model, options)
      if ('activations' in options)
        await calibrate(model, () => model.forward(x).dispose(), { streamline: false })
      freeze(model)
    }
    ours.push(Float32Array.from(await model.forward(x).toNumbers()))
    const place = join(folder, String(i))
    await save(model, place)
    jobs.push({
      task: 'load',
      model: name,
      folder: place,
      x: [...values],
      shape,
      out: `${place}.safetensors`,
    })
  }
  await runJobs(await findPython(), jobs, folder)
  for (const [i, { model }] of variants.entries()) {
    const file = await openSafetensors(await diskFolder(folder).open(`${i}.safetensors`))
    const theirs = new Float32Array((await file.read('output')).slice().buffer)
    await file.close()
    for (const [j, value] of ours[i].entries())
      assert.ok(Math.abs(value - theirs[j]) < 2e-6, `${model} ${i}: ${value}, Python ${theirs[j]}`)
  }
})
