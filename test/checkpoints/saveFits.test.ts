import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { load } from '../../src/checkpoints/load.ts'
import { type SaveOptions, save } from '../../src/checkpoints/save.ts'
import { asQType } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { ggufBlockWriter } from '../../src/formats/schemes/ggufBlockWriter.ts'
import { refusalOf, weightKind } from '../../src/formats/schemes/weightKind.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { Conv1D } from '../../src/nn/gptConv1D.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import type { Module } from '../../src/nn/module.ts'
import type { QWeightModule } from '../../src/nn/qmodule.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { freeze, type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { cast } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

/*
 * What is saved is read as the same numbers, or refused.
 */

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

const net = () => new Sequential(new Linear(64, 64))

function quantized(options: QuantizeOptions, model: Module = net()): Module {
  initialize(model, device, { seed: 1 })
  quantize(model, options)
  freeze(model)
  return model
}

const floats = (model: Module) => (model.getModule('0') as QWeightModule).quantizedWeight().dequantize()

async function saved(model: Module, options: SaveOptions = {}): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  await save(model, memoryFolder(files), { onWarning: () => {}, ...options })
  return files
}

const withZeroPoints = { weights: 'int4', groupSize: 32, zeroPoints: true } as const

test('without a format float32 scales go where they stay float32', async () => {
  const model = quantized(withZeroPoints)
  const again = await load(net(), memoryFolder(await saved(model)), { device })
  assert.deepEqual(await floats(again).toNumbers(), await floats(model).toNumbers())
})

test('a format that would round scales is refused, and holds those of its dtype', async () => {
  for (const format of ['awq', 'gptq']) {
    await assert.rejects(saved(quantized(withZeroPoints), { format }), {
      name: 'FormatError',
      message: new RegExp(`^save: ${format} must be able to hold 0; its scales are no numbers of float16`),
    })
    await saved(quantized({ ...withZeroPoints, scaleDtype: 'float16' }), { format })
  }
})

test('quanto refuses shifts that it would round', async () => {
  const model = quantized({ weights: 'int4' })
  const layer = model.getModule('0') as QWeightModule
  const held = layer.quantizedWeight()
  const parts = held.parts()
  layer.weight = QTensor.fromParts({
    ...{ type: held.qtype, shape: held.shape, dtype: 'bfloat16', codes: held.codes(), block: held.block },
    scale: { values: held.scale('bfloat16') },
    offset: parts.offset,
  })
  await assert.rejects(saved(model, { format: 'quanto' }), {
    name: 'FormatError',
    message: 'save: quanto must be able to hold 0; it has shifts of which some would be rounded to bfloat16',
  })
})

test('formats whose readers know linear layers alone refuse others', async () => {
  const model = () => new Sequential(new Conv1D(64, 64))
  const int8 = quantized({ weights: 'int8', layers: [Conv1D] }, model())
  await assert.rejects(saved(int8, { format: 'compressed-tensors' }), {
    name: 'FormatError',
    message:
      'save: compressed-tensors must be able to hold 0; it is a QConv1D, and the format has codes of Linear and Embedding alone',
  })
  const tiles = { groupSize: 32, blockRows: 32, algorithm: 'minmax', scaleDtype: 'float32' } as const
  const float8 = quantized({ weights: 'float8', layers: [Conv1D], ...tiles }, model())
  await assert.rejects(saved(float8, { format: 'fp8' }), {
    name: 'FormatError',
    message: 'save: fp8 must be able to hold 0; it is a QConv1D, and the format has codes of Linear alone',
  })
})

test('a model that is not frozen is saved in any format that holds its types, as floats', async () => {
  const model = initialize(net(), device, { seed: 1 })
  quantize(model, { weights: 'int8' })
  for (const format of ['torchao', 'quanto', 'gptq', 'hqq', 'mlx', 'bitsandbytes', 'compressed-tensors'])
    assert.ok((await saved(model, { format, unfrozen: true })).has('model.safetensors'), format)
})

test('bitsandbytes refuses scales that are quantized otherwise than its own', async () => {
  const model = quantized({ weights: 'nf4', groupSize: 64 })
  const layer = model.getModule('0') as QWeightModule
  const { qtype: type, shape, block } = layer.quantizedWeight()
  const nested = {
    codes: Tensor.fromArray(device, new Uint8Array(64).fill(1), [64]),
    values: Tensor.full(device, [1], 1),
    blockSize: 64,
  }
  const codes = layer.quantizedWeight().codes()
  layer.weight = QTensor.fromParts({ type, shape, dtype: 'float32', codes, block, scale: nested })
  await assert.rejects(saved(model, { format: 'bitsandbytes' }), {
    name: 'FormatError',
    message:
      'save: bitsandbytes must be able to hold 0; its scales are quantized otherwise than to entries of a codebook of 256, times float32',
  })
})

test('GGUF refuses plain shifts beside scales that are quantized once more', async () => {
  const scale = {
    codes: Tensor.fromArray(device, new Uint8Array(8).fill(1), [1, 8]),
    values: cast(Tensor.full(device, [1], 1), 'float16'),
    ...{ bits: 6, blockSize: 8 },
  }
  using weight = QTensor.fromParts({
    ...{
      type: asQType('int4'),
      shape: [1, 256],
      dtype: 'float32',
      block: { kind: 'group', size: 32 },
      scale,
    },
    codes: Tensor.fromArray(device, new Uint8Array(256), [1, 256]),
    offset: { kind: 'shift', values: Tensor.full(device, [1, 8], 1) },
  })
  assert.equal(refusalOf(ggufBlockWriter, await weightKind(weight)), null)
  assert.match((await ggufBlockWriter.fits?.(weight)) ?? '', /of its scales and shifts some are plain/)
})

test('bitsandbytes refuses layers of different thresholds', async () => {
  const model = initialize(new Sequential(new Linear(64, 64), new Linear(64, 64)), device, { seed: 1 })
  for (const [include, outlierThreshold] of [
    ['0', 5],
    ['1', 6],
  ] as const)
    quantize(model, { weights: 'int8', algorithm: 'llmInt8', outlierThreshold, include })
  freeze(model)
  await assert.rejects(saved(model, { format: 'bitsandbytes' }), {
    message: 'save: bitsandbytes must have one threshold of outliers; the layers have 5 and 6',
  })
})
