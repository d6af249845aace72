import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { type CalibratedOptions, quantizeCalibrated } from '../../../src/models/quantizeCalibrated.ts'
import { initialize } from '../../../src/nn/initialize.ts'
import { Linear } from '../../../src/nn/linear.ts'
import { Module } from '../../../src/nn/module.ts'
import { RMSNorm } from '../../../src/nn/rmsNorm.ts'
import type { CalibratedAlgorithm } from '../../../src/quantize/calibrated/algorithm.ts'
import { ggufQuantizer } from '../../../src/quantize/ggufQuantizers.ts'
import { quantizers } from '../../../src/quantize/quantizers.ts'
import { mul, relu } from '../../../src/tensor/ops/index.ts'
import { keep, scope } from '../../../src/tensor/scope.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

class Block extends Module {
  norm = new RMSNorm(32, 1e-5)
  first = new Linear(32, 32)
  second = new Linear(32, 32)
  forward(x: Tensor): Tensor {
    return scope(() => this.second.forward(relu(this.first.forward(this.norm.forward(x)))))
  }
}
class Net extends Module {
  stem = new Linear(32, 32)
  blocks = [new Block(), new Block(), new Block()]
  unused = new Linear(32, 32)
  head = new Linear(32, 4)
  forward(x: Tensor): Tensor {
    return scope(() =>
      this.head.forward(this.blocks.reduce((y, block) => block.forward(y), this.stem.forward(x))),
    )
  }
}

const net = () => initialize(new Net(), device, { seed: 1 })
const rows = (value = 1) =>
  Tensor.fromNumbers(
    device,
    Float32Array.from({ length: 20 * 32 }, (_, i) => value * Math.sin(i * i)),
    [20, 32],
  )
const quantizer = ggufQuantizer('Q4_0', { importance: true })
const algorithm: CalibratedAlgorithm = { name: 'q4_0', options: { weights: 'int4' }, quantizer }
const usual = () => ({ algorithm, data: [rows(), rows(2)], exclude: 'unused' })

/** Runs with other options, of a model that something was done to, and checks that it is as it was. */
async function refused(
  options: Partial<CalibratedOptions>,
  expected: { name?: string; message: string | RegExp },
  prepare = (_: Net) => {},
): Promise<void> {
  const model = net()
  prepare(model)
  const text = String(model)
  const before = new Map(model.namedTensors())
  await assert.rejects(quantizeCalibrated(model, { ...usual(), ...options }), expected)
  assert.equal(String(model), text)
  assert.deepEqual(new Map(model.namedTensors()), before)
  for (const [, module] of model.namedModules()) assert.ok(!Object.hasOwn(module, 'forward'))
  const y = model.forward(rows())
  await y.toNumbers()
}

/** A layer's weight becomes NaN. */
const broken = (path: string) => (model: Net) => {
  const weight = model.getParameter(path) as Tensor
  model.setParameter(path, keep(scope(() => mul(weight, Number.NaN))))
}

test('no data, and data that is none', async () => {
  await refused(
    { data: [] },
    { name: 'ShapeError', message: 'quantizeCalibrated: data must hold a sample; it has none' },
  )
  await refused(
    { data: [[]] },
    {
      message:
        'quantizeCalibrated: data must be a list of token ids, tensors or lists of arguments; sample 0 is []',
    },
  )
})

test('activations that are not finite are told with the sample and the layer', async () => {
  const says = (what: string) => ({
    name: 'DTypeError',
    message: `quantizeCalibrated: activations must be finite; ${what} holds NaN or an infinity`,
  })
  await refused({}, says('for sample 0 the output of blocks.1.second'), broken('blocks.1.second.weight'))
  await refused({}, says('for sample 0 the output of blocks.2.norm'), broken('blocks.2.norm.weight'))
  await refused(
    { blocks: [] },
    says('for sample 0 the output of blocks.1.second'),
    broken('blocks.1.second.weight'),
  )
  const data = [rows(), rows(Number.NaN)]
  await refused({ data }, says('for sample 1 the input of the model'))
  await refused({ data, blocks: [] }, says('for sample 1 the input of the model'))
})

test('layers that no sample reaches', async () => {
  await refused(
    { exclude: [] },
    {
      name: 'ShapeError',
      message: 'quantizeCalibrated: the data must reach every layer; exclude what it never calls: unused',
    },
  )
})

test('groups that do not divide, before anything runs', async () => {
  await refused(
    { algorithm: { ...algorithm, options: { weights: 'int4', groupSize: 24 } } },
    { message: /groupSize \(24\) must divide the columns of stem \(32\)/ },
  )
})

test('algorithms that do not fit one another, or are none', async () => {
  await refused(
    { algorithm: [algorithm, { ...algorithm, name: 'q5_0' }] },
    { message: 'quantizeCalibrated: one algorithm of a list may solve layers; received q4_0 and q5_0' },
  )
  await refused(
    { algorithm: { name: 'none' } },
    { message: 'quantizeCalibrated: an algorithm must say what weights become; received none' },
  )
  await refused(
    { algorithm: 'gptq' as never },
    {
      message:
        /algorithm must be an algorithm, as gptq\(\{ bits: 4 \}\) gives it, or a list of them; received "gptq"/,
    },
  )
})

test('blocks that are no chain', async () => {
  await refused(
    { blocks: ['blocks.0', 'blocks.2'] },
    {
      message:
        'quantizeCalibrated: every block must take what the one before gives; blocks.2 takes something else than blocks.0 gave',
    },
  )
  await refused({ blocks: 'layers.*' }, { message: /"layers\.\*" must match a module/ })
})

test('a model that is quantized already', async () => {
  const model = net()
  await quantizeCalibrated(model, usual())
  await assert.rejects(quantizeCalibrated(model, usual()), {
    message:
      /the model must have a layer to quantize, such as Linear; all \d+ are quantized already|include and exclude leave none/,
  })
})

test('whatever an algorithm or a quantizer throws, half-way, and what it changed', async () => {
  let solved = 0
  const failing = {
    ...quantizers.max,
    solve: (...args: Parameters<typeof quantizers.max.solve>) => {
      if (++solved > 8) throw new RangeError('enough')
      return quantizers.max.solve(...args)
    },
  }
  const changing: CalibratedAlgorithm = {
    name: 'changing',
    options: { weights: 'int4', groupSize: 32 },
    quantizer: failing,
    async block({ module, edits }) {
      if (module instanceof Block) edits.put(module.norm, 'weight', mul(module.norm.weight, 2))
    },
  }
  await refused({ algorithm: changing }, { name: 'RangeError', message: 'enough' })
})

test('an abort between two samples, of any stage', async () => {
  for (const stop of [1, 3, 5]) {
    const abort = new AbortController()
    const onProgress = ({ block }: { block: number }) => block === stop && abort.abort(new Error('stopped'))
    await refused({ signal: abort.signal, onProgress }, { message: 'stopped' })
  }
  await refused({ signal: AbortSignal.abort(new Error('before')) }, { message: 'before' })
})

test('nothing is left on the device by a run that fails', async () => {
  const model = net()
  const data = [rows(), rows(Number.NaN)]
  await device.sync()
  const before = device.allocatedBytes
  await assert.rejects(quantizeCalibrated(model, { algorithm, exclude: 'unused', data }))
  assert.equal(device.allocatedBytes, before)
})
