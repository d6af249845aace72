import assert from 'node:assert/strict'
import { after, mock, test } from 'node:test'
import { load } from '../../src/checkpoints/load.ts'
import { type SaveOptions, save } from '../../src/checkpoints/save.ts'
import { stateDict } from '../../src/checkpoints/stateDict.ts'
import { openDevice } from '../../src/devices/open.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { Conv1d } from '../../src/nn/conv1d.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import { ConvTranspose2d } from '../../src/nn/convTranspose.ts'
import { Embedding } from '../../src/nn/embedding.ts'
import { Conv1D } from '../../src/nn/gptConv1D.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QWeightModule, setComputeDtype } from '../../src/nn/qmodule.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { freeze, type QuantizeOptions, quantizationMap, quantize } from '../../src/quantize/quantize.ts'
import { max, withZeroPoint } from '../../src/quantize/quantizers.ts'
import { int8DynamicActivationInt8Weight } from '../../src/quantize/recipes.ts'

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

/** Saves a model into memory: the files, and what was said before the first of them. */
async function saved(
  model: Module,
  options: SaveOptions = {},
): Promise<{ files: Map<string, Uint8Array>; warnings: string[] }> {
  const files = new Map<string, Uint8Array>()
  const warnings: string[] = []
  const onWarning = (message: string) => {
    assert.equal(files.size, 0)
    warnings.push(message)
  }
  await save(model, memoryFolder(files), { ...options, onWarning })
  return { files, warnings }
}

/** What quanto has, and what it has not. */
class Layers extends Module {
  linear = new Linear(32, 4)
  conv = new Conv2d(2, 4, 3)
  signal = new Conv1d(2, 4, 3)
  up = new ConvTranspose2d(2, 4, 3)
  projection = new Conv1D(8, 32)
  embedding = new Embedding(5, 32)
}

test('what Python cannot load is said first, and lowbit loads it', async () => {
  const model = initialize(new Layers(), device)
  quantize(model, { weights: 'int8', layers: [Linear, Conv2d, Conv1d, ConvTranspose2d, Conv1D, Embedding] })
  freeze(model)
  const { files, warnings } = await saved(model)
  const listed = 'signal (QConv1d), up (QConvTranspose2d), projection (QConv1D), embedding (QEmbedding)'
  assert.deepEqual(warnings, [`save: Python's optimum-quanto cannot load ${listed}; lowbit can`])
  const again = await load(new Layers(), memoryFolder(files), { device })
  for (const [path, module] of model.namedModules()) {
    if (!(module instanceof QWeightModule)) continue
    const other = again.getModule(path)
    assert.ok(other instanceof QWeightModule)
    const [ours, theirs] = [module, other].map((one) => one.quantizedWeight())
    assert.deepEqual(await theirs.codes().readBytes(), await ours.codes().readBytes(), path)
    assert.deepEqual(await theirs.scale().readBytes(), await ours.scale().readBytes(), path)
  }
})

test('nothing is said of what quanto has', async () => {
  const model = initialize(new Layers(), device)
  quantize(model, { weights: 'int8', activations: 'int8', layers: 'quanto' })
  freeze(model)
  assert.deepEqual((await saved(model)).warnings, [])
})

test('zero points become shifts', async () => {
  const model = initialize(new Sequential(new Linear(32, 4), new Linear(32, 4)), device)
  quantize(model, { weights: 'int4', algorithm: withZeroPoint(max), include: '1', scaleDtype: 'float16' })
  freeze(model)
  const { warnings } = await saved(model)
  assert.deepEqual(warnings, [
    "save: quanto's format stores zero points as shifts (scale · z); 1 will have shifts when loaded again",
  ])
})

test('without onWarning it goes to the console', async () => {
  const model = initialize(new Sequential(new Embedding(5, 32)), device)
  quantize(model, { weights: 'int8', layers: [Embedding] })
  freeze(model)
  const warn = mock.method(console, 'warn', () => {})
  await save(model, memoryFolder(new Map()))
  warn.mock.restore()
  const said = warn.mock.calls.map((call) => call.arguments[0])
  assert.deepEqual(said, ["lowbit: save: Python's optimum-quanto cannot load 0 (QEmbedding); lowbit can"])
})

test('a model that was never frozen is refused, with what to do; as a checkpoint its floats are saved, and trained on', async () => {
  class Net extends Module {
    a = new Linear(32, 4)
    b = new Linear(32, 4)
    free = new Linear(32, 4)
  }
  const model = initialize(new Net(), device)
  quantize(model, { weights: 'int4', exclude: 'free' })
  const files = new Map<string, Uint8Array>()
  await assert.rejects(save(model, memoryFolder(files)), {
    name: 'FormatError',
    message:
      'save: quantized layers must be frozen, so that their codes are saved; a, b hold floats; freeze(model) first, or pass unfrozen: true to save the floats, to go on training from',
  })
  assert.equal(files.size, 0)
  await save(model, memoryFolder(files), { unfrozen: true })
  const again = await load(new Net(), memoryFolder(files), { device })
  assert.deepEqual(quantizationMap(again), quantizationMap(model))
  assert.deepEqual(await again.a.weight.readBytes(), await model.a.weight.readBytes())
  const state = await stateDict(model)
  assert.deepEqual(
    state.get('a.weight')?.bytes,
    await model.a.weight.readBytes(),
    'a state dictionary holds them, too',
  )
  freeze(model)
  await save(model, memoryFolder(new Map()))
})

test('a format that does not say how inputs are rounded is told of; what a call chooses is none of the model', async () => {
  const made = (options: QuantizeOptions) => {
    const model = initialize(new Sequential(new Linear(64, 64), new Linear(64, 64)), device)
    quantize(model, options)
    freeze(model)
    return model
  }
  const lost = (mode: string) =>
    `save: inputs are rounded anew in every pass (${mode}) in 0, 1; the format does not say so, and its readers compute otherwise`
  const int8 = made({ ...int8DynamicActivationInt8Weight() })
  for (const format of ['torchao', 'compressed-tensors'])
    assert.deepEqual((await saved(int8, { format })).warnings, [], format)
  for (const format of ['quanto', 'hqq'])
    assert.deepEqual((await saved(int8, { format })).warnings.at(-1), lost('int8PerToken'), format)
  const outliers = made({ weights: 'int8', algorithm: 'llmInt8' })
  assert.deepEqual((await saved(outliers, { format: 'bitsandbytes' })).warnings, [])
  // Packed integers of compressed-tensors say it, those of torchao say that of zero points alone.
  const int4 = made({
    ...{ weights: 'int4', groupSize: 32, algorithm: 'minmax', zeroPoints: true },
    computeDtype: 'int8PerToken',
  })
  assert.deepEqual((await saved(int4, { format: 'compressed-tensors' })).warnings, [])
  assert.deepEqual((await saved(int4, { format: 'torchao' })).warnings, [lost('int8PerToken')])
  setComputeDtype(int8, 'int8')
  assert.deepEqual((await saved(int8, { format: 'quanto' })).warnings, [])
})

test('codes of 3 bits that are no whole runs of 32 are told of: GPTQModel takes those alone', async () => {
  const model = initialize(new Sequential(new Linear(64, 32), new Linear(32, 40), new Linear(40, 32)), device)
  quantize(model, { weights: 'int3', groupSize: null })
  freeze(model)
  assert.deepEqual((await saved(model, { format: 'gptq' })).warnings, [
    'save: GPTQModel cannot load 1, 2 of 3 bits, whose rows or columns are no multiples of 32; lowbit can',
  ])
})
