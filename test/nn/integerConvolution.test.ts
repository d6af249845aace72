import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { ResNet20 } from '../../examples/cifar/resnet20.ts'
import { qint8 } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import {
  Conv1d,
  Conv2d,
  calibrate,
  compile,
  foldBatchNorm,
  freeze,
  initialize,
  Module,
  ops,
  quantize,
  Sequential,
  setComputeDtype,
} from '../../src/index.ts'
import { QConv } from '../../src/nn/qconv.ts'
import { QActivation } from '../../src/qtensor/activation.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { kernelsOf } from '../kernelsOf.ts'

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

function waves(shape: readonly number[]): Tensor {
  const count = shape.reduce((product, size) => product * size, 1)
  return Tensor.fromNumbers(
    device,
    Array.from({ length: count }, (_, i) => Math.sin(i * 1.7) + 0.3 * Math.cos(i * 0.13)),
    shape,
  )
}

/** A model with int8 weights and activations that computes in integers. */
async function inIntegers<M extends Module & { forward(x: Tensor): Tensor }>(
  model: M,
  x: Tensor,
): Promise<M> {
  quantize(model, { weights: 'int8', activations: 'int8' })
  await calibrate(model, () => scope(() => void model.forward(x)))
  freeze(model)
  setComputeDtype(model, 'int8')
  return model
}

test('a convolution of codes, by hand', async () => {
  const layer = new Conv2d(1, 1, 2)
  // Codes 127, −64, 32 and −127 of scale 1/127; a bias of 0.5.
  layer.weight = Tensor.fromNumbers(device, [1, -64 / 127, 32 / 127, -1], [1, 1, 2, 2])
  layer.bias = Tensor.fromNumbers(device, [0.5])
  const model = new Sequential(layer)
  quantize(model, { weights: 'int8', activations: 'int8' })
  freeze(model)
  const codes = Tensor.fromNumbers(device, [1, 2, 3, 4, -128, 127], [1, 1, 2, 3], 'int8')
  const x = new QActivation(qint8, codes, Tensor.fromNumbers(device, [127], []))
  const twin = model.getModule('0') as QConv
  twin.outputQuantized = false
  const y = twin.forward(x)
  // 127·1 − 64·2 + 32·4 − 127·(−128) = 16383, and 127·2 − 64·3 + 32·(−128) − 127·127 = −20163.
  assert.deepEqual([...(await y.toNumbers())], [16383.5, -20162.5])
  // ReLU and the codes of scale 200 are one pass: 16383.5 / 200 = 81.9, and 0.
  const z = QActivation.quantize(ops.relu(twin.forward(x)), qint8, Tensor.fromNumbers(device, [200], []))
  assert.deepEqual([...(await z.codes.toNumbers())], [82, 0])
  // Codes of values up to 6000: 30.
  const clamped = ops.clamp(twin.forward(x), -3000, 6000)
  const limited = QActivation.quantize(clamped, qint8, Tensor.fromNumbers(device, [200], []))
  assert.deepEqual([...(await limited.codes.toNumbers())], [30, -15])
  assert.deepEqual([...(await clamped.toNumbers())], [6000, -3000])
})

test('reordered columns are convolved by what they stand for', async () => {
  const layer = new Conv2d(2, 1, 1, { bias: false })
  layer.weight = Tensor.fromNumbers(device, [1, -0.5], [1, 2, 1, 1])
  const model = new Sequential(layer)
  quantize(model, { weights: 'int8', activations: 'int8' })
  freeze(model)
  const twin = model.getModule('0') as QConv
  const { codes, ...parts } = (twin.weight as QTensor).parts()
  // Column 0 belongs to channel 1: the layer is −0.5 · x₀ + 1 · x₁, in codes of 1/127.
  const order = Tensor.fromNumbers(device, [1, 0], [2], 'int32')
  twin.weight = QTensor.fromParts({ ...parts, codes, order })
  const x = new QActivation(
    qint8,
    Tensor.fromNumbers(device, [100, 10], [1, 2, 1, 1], 'int8'),
    Tensor.fromNumbers(device, [1], []),
  )
  twin.outputQuantized = false
  const [y] = await twin.forward(x).toNumbers()
  assert.ok(Math.abs(y - ((-64 / 127) * 100 + 10)) < 1e-4, `${y}`)
})

/** Blocks of MobileNetV2: a depthwise convolution between two of single pixels, what it takes added. */
class Block extends Module {
  expand = new Conv2d(8, 24, 1)
  depthwise = new Conv2d(24, 24, 3, { padding: 1, groups: 24 })
  project = new Conv2d(24, 8, 1)

  forward(x: Tensor): Tensor {
    return scope(() => {
      const wide = ops.clamp(this.expand.forward(x), 0, 6)
      return ops.add(x, this.project.forward(ops.clamp(this.depthwise.forward(wide), 0, 6)))
    })
  }
}

class Lines extends Module {
  first = new Conv1d(3, 6, 5, { padding: 4, dilation: 2, groups: 3 })
  second = new Conv1d(6, 4, 3, { stride: 2, padding: 'valid' })

  forward(x: Tensor): Tensor {
    return scope(() => this.second.forward(ops.relu(this.first.forward(x))))
  }
}

const mobile = () =>
  new Sequential(
    new Conv2d(3, 8, 3, { stride: 2, padding: 1 }),
    new Block(),
    new Block(),
    new Conv2d(8, 8, 3, { stride: 2, padding: 1, groups: 8 }),
    new Conv2d(8, 20, 3, { padding: 2, dilation: 2, groups: 2 }),
  )

const models: [name: string, make: () => Module & { forward(x: Tensor): Tensor }, shape: number[]][] = [
  ['ResNet-20', () => new ResNet20(), [2, 3, 32, 32]],
  ['a small MobileNetV2', mobile, [3, 3, 33, 30]],
  ['convolutions of lines', () => new Lines(), [2, 3, 41]],
]

for (const [name, make, shape] of models)
  test(`${name}: every layer gives what floats give that its codes stand for`, async () => {
    const before = device.allocatedBytes
    const x = waves(shape)
    const model = initialize(make(), device, { seed: 3 })
    model.eval()
    foldBatchNorm(model)
    await inIntegers(model, x)
    const compared: Promise<void>[] = []
    let layers = 0
    for (const [path, module] of model.namedModules()) {
      if (!(module instanceof QConv)) continue
      layers++
      let given: Tensor
      module.observe({
        input: ([input]) => {
          given = input as Tensor
        },
        computed: (y: Tensor) => {
          assert.equal(module.kernelFor((module.weight as QTensor).facts), 'conv2dInt8')
          const float = module.floatLayer(module.dequantizedWeight()) as Conv2d
          const codes = QActivation.quantize(given, qint8, module.input_scale as Tensor)
          const expected = float.compute(codes.dequantize(), float.weight, float.bias)
          compared.push(isNear(y, expected, path))
        },
      })
    }
    assert.ok(layers > 1)
    scope(() => void model.forward(x))
    assert.equal(compared.length, layers)
    await Promise.all(compared)
    x.dispose()
    model.dispose()
    assert.equal(device.allocatedBytes, before)
  })

/** Within 2⁻¹⁸ of the largest value: float32 rounds sums of some hundred products. */
async function isNear(y: Tensor, expected: Tensor, what: string): Promise<void> {
  const [a, b] = await Promise.all([y.toNumbers(), expected.toNumbers()])
  assert.equal(a.length, b.length)
  const largest = Math.max(...b.map(Math.abs))
  for (const [i, value] of b.entries())
    assert.ok(Math.abs(a[i] - value) <= largest * 2 ** -18, `${what}: ${a[i]} and ${value} at ${i}`)
}

test('compiled it gives the same, and codes lie between the layers', async () => {
  const x = waves([2, 3, 33, 30])
  const model = await inIntegers(initialize(mobile(), device, { seed: 5 }), x)
  using compiled = compile(model, [x])
  const turned = ops.neg(x)
  for (const input of [x, turned]) {
    const y = await scope(() => model.forward(input)).toNumbers()
    assert.deepEqual([...(await (compiled.run(input) as Tensor).toNumbers())], [...y])
  }
  // The input is quantized; 9 convolutions do all else.
  assert.equal(compiled.length, 10)
})

test('compiled blocks that limit what they add up do so in the passes of their convolutions', async () => {
  let want = waves([2, 3, 32, 32])
  const x = waves([2, 3, 32, 32])
  const resnet = initialize(new ResNet20(), device, { seed: 3 })
  resnet.eval()
  foldBatchNorm(resnet)
  const model = await inIntegers(resnet, x)
  const y = await scope(() => model.forward(x)).toNumbers()
  const ran = kernelsOf(device, () => {
    using compiled = compile(model, [x])
    want = compiled.run(x) as Tensor
  })
  assert.deepEqual([...(await want.toNumbers())], [...y])
  assert.deepEqual(
    ran.filter((kernel) => ['binary', 'unary', 'clamp'].includes(kernel)),
    [],
  )
})

/** What is between both layers is given, too. */
class Both extends Module {
  first = new Conv2d(3, 8, 1)
  second = new Conv2d(8, 4, 1)

  forward(x: Tensor): Tensor {
    return scope(() => this.second.forward(this.first.forward(x)))
  }

  both(x: Tensor): Tensor[] {
    return scope(() => {
      const y = this.first.forward(x)
      return [y, this.second.forward(y)]
    })
  }
}

test('what a compiled model gives and computes with is computed once', async () => {
  const x = waves([2, 3, 9, 8])
  const model = await inIntegers(initialize(new Both(), device, { seed: 5 }), x)
  const want = scope(() => model.both(x))
  model.forward = model.both as unknown as Both['forward']
  using compiled = compile(model, [x])
  const given = compiled.run(x) as unknown as Tensor[]
  for (const [i, y] of given.entries()) assert.deepEqual(await y.readBytes(), await want[i].readBytes())
  assert.equal(compiled.length, 3)
})

test('what no kernel of integers takes is computed in floats', async () => {
  const x = waves([1, 3, 8, 8])
  const layers = [
    new Conv2d(3, 4, 3, { padding: 1, paddingMode: 'reflect' }),
    new Conv2d(3, 4, 2, { padding: 'same' }),
  ]
  for (const layer of layers) {
    const model = await inIntegers(initialize(new Sequential(layer), device), x)
    const twin = model.getModule('0') as QConv
    assert.equal(twin.kernelFor((twin.weight as QTensor).facts), 'dequantize → conv2d')
    assert.deepEqual(scope(() => model.forward(x)).shape, [1, 4, 8, 8])
  }
})
