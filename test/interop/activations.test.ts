import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { viewAs } from '../../src/core/dtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { QModule } from '../../src/nn/qmodule.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { scope } from '../../src/tensor/scope.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'
import { inputs, stories } from '../models/golden.ts'
import { logitsOf } from '../models/goldenChecks.ts'
import { findPython, runJobs } from './python.ts'

/*
 * A model that we calibrated, read by optimum-quanto: its scales are ours to the last bit, and it computes
 * what we compute, up to what its int8 negation makes of −128 (ARCHITECTURE.md) and ties.
 */
const folder = mkdtempSync(join(tmpdir(), 'lowbit-activations-'))
const device = openDevice()
after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await device.close()
})

test('a calibrated model, int8 weights and activations', async () => {
  using model = await loadCausalLM(stories, { device })
  quantize(model, { weights: 'int8', activations: 'int8' })
  const batches = Array.from({ length: 4 }, (_, i) => inputs.ppl_ids.slice(128 * i, 128 * (i + 1)))
  // Python's folder does not say which outputs were left float: it quantizes all.
  const run = () => {
    for (const ids of batches) scope(() => void model.forward(ids))
  }
  await calibrate(model, run, { streamline: false })
  freeze(model)
  const ours = join(folder, 'ours')
  await save(model, ours)
  const out = join(folder, 'ours.safetensors')
  const ids = inputs.prompt_ids
  await runJobs(await findPython(), [{ task: 'read', folder: ours, ids, out, activations: true }], folder)
  const file = await openSafetensors(await diskFolder(folder).open(basename(out)))
  let scales = 0
  for (const [path, module] of model.namedModules()) {
    if (!(module instanceof QModule)) continue
    for (const name of module.bufferNames) {
      const scale: Tensor | null = module[name as 'input_scale' | 'output_scale']
      const theirs = await file.read(`${path}.${name}`)
      // Where none is needed, quanto has 1.
      assert.deepEqual(
        Buffer.from(theirs),
        Buffer.from(scale ? await scale.readBytes() : new Uint8Array(Float32Array.of(1).buffer)),
        `${path}.${name}`,
      )
      scales++
    }
  }
  const python = viewAs('float32', await file.read('logits')) as Float32Array
  await file.close()
  const logits = await logitsOf(model, ids)
  const step = Number((await (model.lm_head as QModule).output_scale?.toNumbers())?.[0])
  const differences = logits.map((value, i) => Math.abs(value - python[i]) / step)
  const mean = differences.reduce((sum, difference) => sum + difference, 0) / differences.length
  console.log(
    `${scales} scales bit-equal; logits differ by ${mean.toFixed(2)} steps of int8 in the mean, at most ${Math.max(...differences)}`,
  )
  assert.ok(mean < 2, `${mean}`)
})
