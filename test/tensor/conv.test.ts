import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { Random } from '../../src/core/random.ts'
import { numel, type Shape } from '../../src/core/shape.ts'
import { openDevice } from '../../src/devices/open.ts'
import { type ConvSizes, eachProduct } from '../../src/kernels/conv/conv2d/sizes.ts'
import {
  type ConvOptions,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
} from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { checkBilinear, type Values } from './bilinear.ts'
import { goldenValues } from './goldenValues.ts'

const devices = [openDevice('cpu', { threads: 2 }), openDevice('wasm', { threads: 1 })]
after(() => Promise.all(devices.map((device) => device.close())))

const random = new Random(11)
const normals = (shape: Shape): Values => ({
  shape,
  values: Float32Array.from({ length: numel(shape) }, () => random.normal()),
})

/** Float64 sums over the products of a convolution of these sizes; transposed, the other way round. */
function define(sizes: ConvSizes, transposed = false) {
  return (x: Float64Array, w: Float64Array, bias?: Float64Array): Float64Array => {
    const [batch, inChannels, inHeight, inWidth, outChannels, outHeight, outWidth] = sizes
    const [channels, plane] = transposed
      ? [inChannels, inHeight * inWidth]
      : [outChannels, outHeight * outWidth]
    const y = Float64Array.from(
      { length: batch * channels * plane },
      (_, i) => bias?.[Math.floor(i / plane) % channels] ?? 0,
    )
    eachProduct(sizes, (xi, wi, yi) => {
      if (transposed) y[xi] += x[yi] * w[wi]
      else y[yi] += x[xi] * w[wi]
    })
    return y
  }
}

const goldens: [
  name: string,
  options: ConvOptions,
  settings: [stride: number[], padding: number[], dilation: number[], groups: number],
][] = [
  ['conv2d_s2p1', { stride: 2, padding: 1 }, [[2, 2], [1, 1], [1, 1], 1]],
  [
    'conv2d_groups_dil',
    { stride: [1, 2], padding: [2, 1], dilation: [2, 1], groups: 2 },
    [[1, 2], [2, 1], [2, 1], 2],
  ],
  ['conv2d_depthwise', { padding: 1, groups: 5 }, [[1, 1], [1, 1], [1, 1], 5]],
]

for (const device of devices) {
  for (const [name, options, [stride, padding, dilation, groups]] of goldens) {
    test(`${device.name}: ${name} and its gradients, as PyTorch's`, async () => {
      const expected = await goldenValues(name)
      const [x, w, y] = ['in.x', 'in.w', 'out'].map(expected)
      const bias: Record<string, Values> = name === 'conv2d_groups_dil' ? {} : { b: expected('in.b') }
      const sizes = [
        ...x.shape,
        ...y.shape.slice(1),
        ...w.shape.slice(2),
        ...stride,
        ...padding,
        ...dilation,
        groups,
      ] as ConvSizes
      await checkBilinear(device, {
        inputs: { x, w, ...bias },
        gradOut: expected('grad_out').values,
        forward: ({ x, w, b }) => conv2d(x, w, b ?? null, options),
        define: define(sizes),
        expected: (key) => expected(key).values,
        golden: name,
      })
    })
  }

  test(`${device.name}: conv1d is a convolution of one row`, async () => {
    await checkBilinear(device, {
      inputs: { x: normals([2, 4, 9]), w: normals([6, 2, 3]), b: normals([6]) },
      gradOut: normals([2, 6, 4]).values,
      forward: ({ x, w, b }) => conv1d(x, w, b, { stride: 2, padding: 1, dilation: 2, groups: 2 }),
      define: define([2, 4, 1, 9, 6, 1, 4, 1, 3, 1, 2, 0, 1, 1, 2, 2]),
    })
  })

  test(`${device.name}: convTranspose2d and convTranspose1d turn a convolution around`, async () => {
    // (4 − 1)·2 − 2·1 + 1·(3 − 1) + 1 + 1 = 8 rows, (3 − 1)·3 − 0 + 2·(2 − 1) + 0 + 1 = 9 columns.
    await checkBilinear(device, {
      inputs: { x: normals([2, 4, 4, 3]), w: normals([4, 3, 3, 2]), b: normals([6]) },
      gradOut: normals([2, 6, 8, 9]).values,
      forward: ({ x, w, b }) =>
        convTranspose2d(x, w, b, {
          stride: [2, 3],
          padding: [1, 0],
          dilation: [1, 2],
          outputPadding: [1, 0],
          groups: 2,
        }),
      define: define([2, 6, 8, 9, 4, 4, 3, 3, 2, 2, 3, 1, 0, 1, 2, 2], true),
    })
    await checkBilinear(device, {
      inputs: { x: normals([1, 3, 5]), w: normals([3, 2, 4]) },
      gradOut: normals([1, 2, 11]).values,
      forward: ({ x, w }) => convTranspose1d(x, w, null, { stride: 2, padding: 1, outputPadding: 1 }),
      define: define([1, 2, 1, 11, 3, 1, 5, 1, 4, 1, 2, 0, 1, 1, 1, 1], true),
    })
  })

  test(`${device.name}: convTranspose2d by hand`, async () => {
    // One value of 2 spreads the kernel; stride 2 leaves rows and columns between.
    const x = Tensor.fromNumbers(device, [2, -1], [1, 1, 1, 2])
    const w = Tensor.fromNumbers(device, [1, 2, 3, 4], [1, 1, 2, 2])
    const y = convTranspose2d(x, w, null, { stride: 2 })
    assert.deepEqual(
      [y.shape, [...(await y.toNumbers())]],
      [
        [1, 1, 2, 4],
        [2, 4, -1, -2, 6, 8, -3, -4],
      ],
    )
    for (const tensor of [x, w, y]) tensor.dispose()
  })

  test(`${device.name}: what does not fit is refused`, () => {
    const [x, w] = [Tensor.empty(device, [1, 4, 2, 2]), Tensor.empty(device, [6, 3, 3, 3])]
    assert.throws(() => conv2d(x, w), {
      name: 'ShapeError',
      message:
        'conv2d: channels of x (4) must be groups (1) times those of w (3), and groups must divide outputs (6); received x [1,4,2,2], w [6,3,3,3]',
    })
    const small = Tensor.empty(device, [6, 4, 3, 3])
    const fitting = Tensor.empty(device, [4, 1, 2, 2])
    assert.throws(
      () => conv2d(x, small),
      /^ShapeError: conv2d: the kernel must fit into the padded image; received x \[1,4,2,2\]/,
    )
    assert.throws(
      () => conv2d(x, small, null, { stride: 0 }),
      /conv2d: stride must be a whole number, 1 or more, or \[height, width\]; received 0/,
    )
    assert.throws(
      () => convTranspose2d(x, w),
      /convTranspose2d: channels of x must be those of w, in 1 groups/,
    )
    assert.throws(
      () => convTranspose2d(x, fitting, null, { outputPadding: 1 }),
      /outputPadding must be smaller than stride or dilation; received 1,1/,
    )
    for (const tensor of [x, w, small, fitting]) tensor.dispose()
  })
}
