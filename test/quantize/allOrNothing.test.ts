import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { load } from '../../src/checkpoints/load.ts'
import { save } from '../../src/checkpoints/save.ts'
import { ShapeError } from '../../src/core/errors.ts'
import { openDevice } from '../../src/devices/open.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { BatchNorm1d } from '../../src/nn/batchNorm.ts'
import { foldBatchNorm } from '../../src/nn/foldBatchNorm.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { QWeightModule } from '../../src/nn/qmodule.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { registerQuantizedModule } from '../../src/nn/twins.ts'
import type { Quantizer } from '../../src/qtensor/quantizer.ts'
import { dequantize } from '../../src/quantize/dequantize.ts'
import { freeze, quantizationMap, quantize } from '../../src/quantize/quantize.ts'
import { max } from '../../src/quantize/quantizers.ts'
import { int4WeightOnly, quantizeByName } from '../../src/quantize/recipes.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'

/*
 * What fails at one layer leaves all of them as they were, and gives back what it took.
 */

const device = openDevice('cpu')
after(() => device.close())

class Net extends Module {
  a = new Linear(256, 256)
  b = new Linear(256, 100)
  c = new Linear(100, 8)
}

/** That `run` throws, and then holds no more memory than before. */
function fails(run: () => unknown, message: RegExp): void {
  const before = device.allocatedBytes
  assert.throws(run, { message })
  assert.equal(device.allocatedBytes, before)
}

test('quantize', () => {
  const net = initialize(new Net(), device)
  fails(
    () => quantize(net, int4WeightOnly({ groupSize: 128 })),
    /groupSize \(128\) must divide the columns of c \(100\)/,
  )
  assert.deepEqual(quantizationMap(net), {})
  assert.deepEqual(quantize(net, { weights: 'int8' }), ['a', 'b', 'c'])
})

test('quantizeByName', () => {
  const net = initialize(new Net(), device)
  fails(
    () => quantizeByName(net, { a: { weights: 'int8' }, _default: int4WeightOnly({ groupSize: 128 }) }),
    /the columns of c/,
  )
  assert.deepEqual(quantizationMap(net), {})
})

test('freeze', () => {
  const net = initialize(new Net(), device)
  const picky: Quantizer = {
    ...max,
    name: 'picky',
    solve(weight, spec) {
      if (weight.shape[1] === 100) throw new ShapeError('picky: not 100')
      return max.solve(weight, spec)
    },
  }
  quantize(net, { weights: 'int4', groupSize: null, algorithm: picky })
  const weights = [...net.parameters()]
  fails(() => freeze(net), /picky/)
  assert.deepEqual([...net.parameters()], weights)
})

class Own extends Linear {}
class QOwn extends QWeightModule {
  protected override qforward(x: Tensor): Tensor {
    return x
  }
}

test('dequantize', () => {
  registerQuantizedModule(Own, {
    make: (layer, { weights, activations }) => weights && new QOwn(layer, weights, activations),
  })
  const net = initialize(new Sequential(new Linear(8, 8), new Own(8, 8)), device)
  quantize(net, { weights: 'int8' })
  freeze(net)
  fails(() => dequantize(net), /QOwn must say by floatLayer/)
  assert.ok(net.getModule('0') instanceof QLinear)
})

test('foldBatchNorm', () => {
  const net = initialize(
    new Sequential(new Linear(4, 4), new BatchNorm1d(4), new Linear(4, 3), new BatchNorm1d(3)),
    device,
  )
  net.getModule('3').train()
  const tensors = [...net.namedTensors()]
  fails(() => foldBatchNorm(net), /received 3 in training/)
  assert.deepEqual([...net.namedTensors()], tensors)
  net.eval()
  assert.deepEqual(foldBatchNorm(net), ['1', '3'])
})

test('load', async () => {
  const net = initialize(new Net(), device)
  quantize(net, { weights: 'int8' })
  freeze(net)
  const files = new Map<string, Uint8Array>()
  await save(net, memoryFolder(files))
  class Wider extends Net {
    extra = new Linear(2, 2)
  }
  const other = initialize(new Wider(), device)
  const before = device.allocatedBytes
  await assert.rejects(load(other, memoryFolder(files), { device }), /extra.weight is missing/)
  assert.equal(device.allocatedBytes, before)
  assert.ok(other.a instanceof Linear)
})
