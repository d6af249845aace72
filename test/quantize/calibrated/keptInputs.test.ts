import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { loadCausalLM } from '../../../src/models/load.ts'
import { quantizeCalibrated } from '../../../src/models/quantizeCalibrated.ts'
import { initialize } from '../../../src/nn/initialize.ts'
import { Linear } from '../../../src/nn/linear.ts'
import { Module } from '../../../src/nn/module.ts'
import { gptq } from '../../../src/quantize/algorithms/gptq.ts'
import type { CalibratedAlgorithm } from '../../../src/quantize/calibrated/algorithm.ts'
import { add, relu } from '../../../src/tensor/ops/index.ts'
import { scope } from '../../../src/tensor/scope.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'
import { hashOf, samples } from '../../models/calibratedModel.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())
const root = await mkdtemp(join(tmpdir(), 'lowbit-kept-'))
after(() => rm(root, { recursive: true }))

/** Changes nothing of a block; but where an algorithm might, no inputs are kept. */
const nothing: CalibratedAlgorithm = { name: 'nothing', block: async () => {} }
const algorithm = gptq({ bits: 4, groupSize: 32 })

let computed = 0
class Part extends Module {
  up = new Linear(32, 64)
  down = new Linear(64, 32)
  forward(x: Tensor): Tensor {
    computed++
    return this.down.forward(relu(this.up.forward(x)))
  }
}
class Block extends Module {
  first = new Part()
  second = new Part()
  forward(x: Tensor): Tensor {
    return scope(() => {
      const y = add(x, this.first.forward(x))
      return add(y, this.second.forward(y))
    })
  }
}
class Net extends Module {
  blocks = [new Block(), new Block()]
  forward(x: Tensor): Tensor {
    return scope(() => this.blocks.reduce((y, block) => block.forward(y), x))
  }
}

test('what comes before a solved layer that gives what its module gives is not computed again', async () => {
  const hashes: string[] = []
  for (const [algorithms, parts] of [
    // Up to each of a block's four layers, where the first part is known for the last two; then all is.
    [[algorithm], 1 + 1 + 1 + 1],
    // For targets and for errors of rounding, up to each layer, and for what comes next.
    [[nothing, algorithm], 2 + 2 + (1 + 1 + 2 + 2) + 2],
  ] as const) {
    const model = initialize(new Net(), device, { seed: 1 })
    const data = [0, 1, 2].map((seed) =>
      Tensor.fromNumbers(
        device,
        Float32Array.from({ length: 20 * 32 }, (_, i) => Math.sin(i * i + seed)),
        [20, 32],
      ),
    )
    // What a survey of the model computes.
    computed = -2 * model.blocks.length
    await quantizeCalibrated(model, { algorithm: [...algorithms], data })
    assert.equal(computed, parts * model.blocks.length * data.length)
    hashes.push(await hashOf(model))
  }
  assert.equal(hashes[0], hashes[1])
})

test('a run of a model of 16 bits that was ended goes on to the same bytes', async () => {
  const hashes: string[] = []
  for (const end of [false, true]) {
    const options = {
      algorithm,
      data: samples,
      exclude: 'lm_head',
      resume: end ? join(root, 'run') : undefined,
    }
    const model = await loadCausalLM('models/stories260K', { device, dtype: 'float16' })
    const abort = new AbortController()
    const onProgress = ({ block }: { block: number }) => {
      if (block === 3) abort.abort()
    }
    if (end)
      await assert.rejects(quantizeCalibrated(model, { ...options, onProgress, signal: abort.signal }), {
        name: 'AbortError',
      })
    await quantizeCalibrated(model, options)
    hashes.push(await hashOf(model))
    model.dispose()
  }
  assert.equal(hashes[0], hashes[1])
})
