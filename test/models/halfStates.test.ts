import assert from 'node:assert/strict'
import { loadStateDict, type SavedTensor } from '../../src/checkpoints/stateDict.ts'
import { encodeFloat } from '../../src/core/halves.ts'
import { numel } from '../../src/core/shape.ts'
import { BatchNorm1d, BatchNorm2d } from '../../src/nn/batchNorm.ts'
import { Conv1d } from '../../src/nn/conv1d.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import { ConvTranspose1d, ConvTranspose2d } from '../../src/nn/convTranspose.ts'
import { Embedding } from '../../src/nn/embedding.ts'
import { Conv1D } from '../../src/nn/gptConv1D.ts'
import { Linear } from '../../src/nn/linear.ts'
import type { Module } from '../../src/nn/module.ts'
import { MultiheadAttention } from '../../src/nn/multiheadAttention.ts'
import { GroupNorm, LayerNorm } from '../../src/nn/normalization.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { RMSNorm } from '../../src/nn/rmsNorm.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

type Layer = Module & { forward(x: Tensor): Tensor }

/** Every layer that has tensors, and the shape of what it takes. */
const layers: Record<string, { make: () => Layer; shape: number[]; ids?: boolean }> = {
  Linear: { make: () => new Linear(8, 6), shape: [3, 8] },
  Conv1d: { make: () => new Conv1d(4, 6, 3), shape: [2, 4, 9] },
  Conv2d: { make: () => new Conv2d(4, 6, 3), shape: [2, 4, 5, 5] },
  ConvTranspose1d: { make: () => new ConvTranspose1d(4, 6, 3), shape: [2, 4, 5] },
  ConvTranspose2d: { make: () => new ConvTranspose2d(4, 6, 3), shape: [2, 4, 5, 5] },
  Conv1D: { make: () => new Conv1D(6, 8), shape: [3, 8] },
  Embedding: { make: () => new Embedding(6, 8), shape: [3], ids: true },
  LayerNorm: { make: () => new LayerNorm(8), shape: [3, 8] },
  RMSNorm: { make: () => new RMSNorm(8, 1e-5), shape: [3, 8] },
  GroupNorm: { make: () => new GroupNorm(2, 4), shape: [2, 4, 5] },
  BatchNorm1d: { make: () => new BatchNorm1d(4), shape: [5, 4] },
  BatchNorm2d: { make: () => new BatchNorm2d(4), shape: [2, 4, 3, 3] },
  MultiheadAttention: { make: () => new MultiheadAttention(8, 2), shape: [4, 2, 8] },
}

/**
 * Multiples of 1/16 below 2, which all three dtypes hold, so that a layer must give the same whichever its
 * tensors have.
 */
function stateOf(layer: Layer, dtype: 'float32' | 'float16' | 'bfloat16'): Map<string, SavedTensor> {
  let i = 0
  const value = () => ((++i * 7) % 31) / 16 + 1 / 16
  return new Map(
    [...layer.namedTensors()].map(([name, { shape, dtype: own }]): [string, SavedTensor] => {
      if (own === 'int64') return [name, { dtype: own, shape, bytes: new Uint8Array(8) }]
      const codes = Array.from({ length: numel(shape) }, () => encodeFloat(dtype, value()))
      const array = dtype === 'float32' ? Float32Array.from(codes) : Uint16Array.from(codes)
      return [name, { dtype, shape, bytes: new Uint8Array(array.buffer) }]
    }),
  )
}

for (const [name, { make, shape, ids }] of Object.entries(layers)) {
  testOnDevices(
    `${name} computes with float16 and bfloat16 as with the same numbers in float32`,
    async (device) => {
      const count = numel(shape)
      const x = ids
        ? Tensor.fromArray(device, Int32Array.of(5, 0, 3), shape, 'int32')
        : Tensor.fromNumbers(
            device,
            Float32Array.from({ length: count }, (_, i) => Math.sin(i)),
            shape,
          )
      const output = async (dtype: 'float32' | 'float16' | 'bfloat16', train: boolean) => {
        using layer = make()
        await loadStateDict(layer, stateOf(layer, dtype), { device })
        using y = layer.train(train).forward(x)
        return [...(await y.toNumbers())]
      }
      for (const train of [false, true]) {
        const float = await output('float32', train)
        for (const dtype of ['float16', 'bfloat16'] as const) {
          const half = await output(dtype, train)
          // Products in another order differ in the last bits; a number that was misread by a sixteenth.
          for (const [i, y] of half.entries())
            assert.ok(
              Math.abs(y - float[i]) <= 1e-5 * Math.max(1, Math.abs(float[i])),
              `${dtype} ${i}: ${y}, not ${float[i]}`,
            )
        }
      }
      x.dispose()
    },
  )
}

testOnDevices('quantized, frozen and dequantized, too', async (device) => {
  for (const dtype of ['float16', 'bfloat16'] as const) {
    using model = new Sequential(new Linear(8, 6), new LayerNorm(6), new Linear(6, 2))
    await loadStateDict(model, stateOf(model, dtype), { device })
    quantize(model, { weights: 'int8' })
    freeze(model)
    using x = Tensor.fromNumbers(device, [1, 2, 3, 4, 5, 6, 7, 8], [1, 8])
    using y = model.forward(x)
    assert.ok((await y.toNumbers()).every(Number.isFinite))
  }
})

testOnDevices('asked for as float32 they are float32, of the same values, and train', async (device) => {
  using half = new Linear(8, 6)
  await loadStateDict(half, stateOf(half, 'bfloat16'), { device })
  using float = new Linear(8, 6)
  await loadStateDict(float, stateOf(float, 'bfloat16'), { device, dtype: 'float32' })
  assert.deepEqual(
    [half.weight.dtype, float.weight.dtype, float.bias?.dtype],
    ['bfloat16', 'float32', 'float32'],
  )
  assert.deepEqual([...(await float.weight.toNumbers())], [...(await half.weight.toNumbers())])
  assert.throws(() => new SGD(half.parameters(), { lr: 1 }), /load the model with dtype: 'float32'/)
  assert.doesNotThrow(() => new SGD(float.parameters(), { lr: 1 }))
})
