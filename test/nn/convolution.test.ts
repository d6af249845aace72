import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { numel, type Shape } from '../../src/core/shape.ts'
import { openDevice } from '../../src/devices/open.ts'
import { Conv1d } from '../../src/nn/conv1d.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import type { Convolution, ForwardConvolution } from '../../src/nn/convolution.ts'
import { ConvTranspose1d, ConvTranspose2d } from '../../src/nn/convTranspose.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { QWeightModule } from '../../src/nn/qmodule.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { linear } from '../../src/qtensor/linear.ts'
import { matrixShape } from '../../src/qtensor/parts.ts'
import { quantize } from '../../src/quantize/quantize.ts'
import { transpose } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

test('convolutions print as in PyTorch', () => {
  // Written down from torch 2.15.
  assert.equal(String(new Conv2d(3, 5, 3)), 'Conv2d(3, 5, kernel_size=(3, 3), stride=(1, 1))')
  assert.equal(
    String(
      new Conv2d(4, 6, [3, 2], {
        stride: [1, 2],
        padding: [2, 1],
        dilation: [2, 1],
        groups: 2,
        bias: false,
        paddingMode: 'reflect',
      }),
    ),
    'Conv2d(4, 6, kernel_size=(3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1), groups=2, bias=False, padding_mode=reflect)',
  )
  assert.equal(
    String(new Conv1d(4, 6, 5, { padding: 'same' })),
    'Conv1d(4, 6, kernel_size=(5,), stride=(1,), padding=same)',
  )
  assert.equal(
    String(new ConvTranspose2d(4, 6, 3, { stride: 2, padding: 1, outputPadding: 1, groups: 2 })),
    'ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1), groups=2)',
  )
  assert.equal(
    String(new ConvTranspose1d(4, 6, 3, { dilation: 2, bias: false })),
    'ConvTranspose1d(4, 6, kernel_size=(3,), stride=(1,), dilation=(2,), bias=False)',
  )
})

test('weights have the shapes of PyTorch, and start uniform within 1 / √fanIn', async () => {
  for (const [layer, shape, fanIn] of [
    [new Linear(25, 8), [8, 25], 25],
    [new Conv1d(4, 6, 5, { groups: 2 }), [6, 2, 5], 10],
    [new Conv2d(8, 64, 3), [64, 8, 3, 3], 72],
    [new ConvTranspose2d(16, 6, [3, 5], { groups: 2 }), [16, 3, 3, 5], 45],
  ] as const) {
    initialize(layer, device, { seed: 1 })
    assert.deepEqual(layer.weight.shape, shape)
    const values = [...(await layer.weight.toNumbers())]
    const bound = 1 / Math.sqrt(fanIn)
    // The largest of n uniform magnitudes lies within 12/n of the bound, but for one time in e¹².
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    assert.ok(
      largest <= bound && largest > bound * (1 - 12 / values.length),
      `${layer}: largest ${largest} of ${bound}`,
    )
    // A uniform value has the deviation bound / √3.
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    assert.ok(Math.abs(mean) < (5 * bound) / Math.sqrt(3 * values.length))
    assert.ok(layer.bias && [...(await layer.bias.toNumbers())].every((value) => Math.abs(value) <= bound))
    layer.dispose()
  }
  assert.equal(device.allocatedBytes, 0)
})

/** 1, 2, 3 … in this shape. */
const counting = (shape: Shape) => {
  const count = shape.reduce((product, size) => product * size, 1)
  return Tensor.fromNumbers(
    device,
    Array.from({ length: count }, (_, i) => i + 1),
    shape,
  )
}

const layers: [layer: Convolution, x: Shape, y: Shape, values: number[]][] = [
  [
    new Conv2d(1, 1, 2, { padding: 'same', bias: false }),
    [1, 1, 3, 3],
    [1, 1, 3, 3],
    [37, 47, 21, 67, 77, 33, 23, 26, 9],
  ],
  [
    new Conv2d(1, 1, [3, 2], { padding: 1, paddingMode: 'reflect' }),
    [1, 1, 3, 3],
    [1, 1, 3, 4],
    [82, 85, 106, 103, 127, 130, 151, 148, 124, 127, 148, 145],
  ],
  [
    new Conv2d(1, 1, [3, 2], { padding: 1, paddingMode: 'replicate' }),
    [1, 1, 3, 3],
    [1, 1, 3, 4],
    [64, 76, 97, 106, 118, 130, 151, 160, 148, 160, 181, 190],
  ],
  [
    new Conv2d(1, 1, [3, 2], { padding: [1, 1], paddingMode: 'circular' }),
    [1, 1, 3, 3],
    [1, 1, 3, 4],
    [100, 94, 115, 100, 136, 130, 151, 136, 100, 94, 115, 100],
  ],
  [
    new Conv1d(2, 2, 3, { padding: 1, stride: 2, groups: 2, paddingMode: 'circular', bias: false }),
    [1, 2, 5],
    [1, 2, 3],
    [13, 20, 17, 112, 122, 122],
  ],
  [
    new ConvTranspose1d(1, 1, 3, { stride: 2, padding: 1, outputPadding: 1, bias: false }),
    [1, 1, 3],
    [1, 1, 6],
    [2, 5, 4, 9, 6, 9],
  ],
]

test('forward takes every kind of padding; values of torch 2.15 for weight and input that count 1, 2, 3 …, bias 10', async () => {
  for (const [layer, xShape, shape, values] of layers) {
    layer.weight = counting(layer.weight.shape)
    if (layer.bias) layer.bias = Tensor.fromNumbers(device, [10])
    const x = counting(xShape)
    const y = layer.forward(x)
    assert.deepEqual([y.shape, [...(await y.toNumbers())]], [shape, values], String(layer))
    for (const tensor of [x, y]) tensor.dispose()
    layer.dispose()
  }
  assert.equal(device.allocatedBytes, 0)
})

test('a quantized convolution names the kernels that run', () => {
  const model = new Sequential(new Conv2d(2, 2, 3), new Conv1d(2, 2, 3), new ConvTranspose2d(2, 2, 3))
  initialize(model, device)
  quantize(model, { weights: 'int8' })
  const kernels = [...model.namedModules()].flatMap(([, module]) =>
    module instanceof QWeightModule ? [module.kernelFor(module.quantizedWeight().facts)] : [],
  )
  assert.deepEqual(kernels, [
    'dequantize → conv2d',
    'dequantize → conv2d',
    'dequantize → conv2dInputGradient',
  ])
})

/** Layers whose windows lie differently, and what they take. */
const windowed: [ForwardConvolution, Shape][] = [
  [new Conv2d(3, 5, 3, { padding: 1 }), [2, 3, 6, 7]],
  [new Conv2d(4, 6, [3, 2], { stride: [1, 2], padding: [2, 1], dilation: [2, 1] }), [2, 4, 6, 7]],
  [new Conv2d(2, 3, [2, 3], { padding: 'same', paddingMode: 'reflect' }), [1, 2, 5, 6]],
  [new Conv1d(4, 6, 5, { padding: 2, stride: 2 }), [3, 4, 9]],
  [new Conv1d(4, 2, 4, { padding: 'same', dilation: 2 }), [2, 4, 9]],
]
for (const [layer, shape] of windowed)
  test(`the windows of ${layer} are the rows that its weight multiplies`, async () => {
    initialize(layer, device)
    const values = Float32Array.from({ length: numel(shape) }, (_, i) => Math.sin(7 * i))
    const x = Tensor.fromNumbers(device, values, shape)
    const expected = layer.forward(x)
    const rows = linear(layer.windows(x), layer.weight.view(matrixShape(layer.weight.shape)), layer.bias)
    // Outputs of a place stand together, those of an image behind one another.
    const [B, N] = expected.shape
    const y = transpose(rows.view([B, rows.shape[0] / B, N]), 1, 2)
    const [a, b] = [await y.toNumbers(), await expected.toNumbers()]
    assert.equal(a.length, b.length)
    for (const [i, value] of b.entries()) assert.ok(Math.abs(a[i] - value) < 1e-5, `${a[i]} ${value} at ${i}`)
  })
