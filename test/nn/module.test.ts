import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { RMSNorm } from '../../src/nn/rmsNorm.ts'
import { freeze, memoryFootprint, quantizationMap, quantize } from '../../src/quantize/quantize.ts'

class Block extends Module {
  fc1 = new Linear(256, 64)
  norm = new RMSNorm(64, 1e-5)
}

class Net extends Module {
  blocks = [new Block(), new Block()]
  head: Linear
  tied: Linear

  constructor() {
    super()
    this.head = new Linear(64, 10, { bias: false, dtype: 'bfloat16' })
    this.tied = new Linear(64, 10, { bias: false })
    this.tied.weight = this.head.weight
  }
}

test('paths are property names joined by dots', () => {
  const net = new Net()
  assert.deepEqual(
    [...net.namedModules()].map(([path]) => path),
    [
      '',
      'blocks.0',
      'blocks.0.fc1',
      'blocks.0.norm',
      'blocks.1',
      'blocks.1.fc1',
      'blocks.1.norm',
      'head',
      'tied',
    ],
  )
  assert.deepEqual([...net.namedParameters()].map(([path]) => path).slice(0, 3), [
    'blocks.0.fc1.weight',
    'blocks.0.fc1.bias',
    'blocks.0.norm.weight',
  ])
  assert.equal(net.getModule('blocks.1.fc1'), net.blocks[1].fc1)
  assert.equal(net.getParameter('blocks.1.fc1.bias'), net.blocks[1].fc1.bias)
  assert.throws(() => net.getModule('blocks.2'), {
    name: 'ShapeError',
    message: 'getModule: path must lead to a module; received "blocks.2", where there is none',
  })
  assert.throws(() => net.getModule('blocks'), { name: 'ShapeError' })
  assert.throws(() => net.getParameter('head.bias'), { name: 'ShapeError' })
  // Bytes by hand: 2 · (64·256 + 64 + 64) float32, and 640 bfloat16 counted once.
  assert.equal(memoryFootprint(net), 2 * (64 * 256 + 128) * 4 + 640 * 2)
})

test('the tree prints as PyTorch prints it', () => {
  // Written down from torch 2.15's repr of the same modules.
  assert.equal(
    String(new Net()),
    `Net(
  (blocks): ModuleList(
    (0-1): 2 x Block(
      (fc1): Linear(in_features=256, out_features=64, bias=True)
      (norm): RMSNorm((64,), eps=1e-05, elementwise_affine=True)
    )
  )
  (head): Linear(in_features=64, out_features=10, bias=False)
  (tied): Linear(in_features=64, out_features=10, bias=False)
)`,
  )
})

test('quantize replaces the layers that the globs choose, in place', () => {
  const net = new Net()
  assert.deepEqual(quantize(net, { weights: 'int4', exclude: ['head', 'tied'] }), [
    'blocks.0.fc1',
    'blocks.1.fc1',
  ])
  assert.match(String(net), /\(fc1\): QLinear\(in_features=256, out_features=64, bias=True\)/)
  assert.deepEqual(quantizationMap(net), {
    'blocks.0.fc1': { weights: 'qint4', activations: 'none' },
    'blocks.1.fc1': { weights: 'qint4', activations: 'none' },
  })
  assert.deepEqual(
    quantize(net, { weights: 'int8', include: '*' }),
    ['head', 'tied'],
    'what is quantized already stays as it is',
  )
})

test('what cannot be quantized is refused in one sentence', () => {
  const wrong = (options: Parameters<typeof quantize>[1], message: string) =>
    assert.throws(() => quantize(new Net(), options), { message })
  wrong(
    { weights: 'int8', exclude: 'heed' },
    'quantize: "heed" must match a module; the nearest are head, tied, blocks.0',
  )
  wrong(
    { weights: 'int4', groupSize: 96 },
    'quantize: groupSize (96) must divide the columns of blocks.0.fc1 (256); exclude it or choose another',
  )
  wrong(
    { weights: 'int4', groupSize: 33 },
    'quantize: groupSize (33) must divide the columns of blocks.0.fc1 (256); exclude it or choose another',
  )
  wrong(
    { weights: 'int8', include: '*.norm' },
    'quantize: the model must have a layer to quantize, such as Linear; include and exclude leave none of 4',
  )
  assert.throws(() => quantize(new Net(), { weights: 'int5' as 'int4' }), { name: 'DTypeError' })
  assert.throws(() => freeze(quantizedWithoutData()), { name: 'DeviceError' })
})

/** Freezing a model whose weights were never loaded. */
function quantizedWithoutData(): Net {
  const net = new Net()
  quantize(net, { weights: 'int8' })
  return net
}
