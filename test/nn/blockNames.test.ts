import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { Block } from '../../src/nn/block.ts'
import { Linear } from '../../src/nn/linear.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { RotaryEmbedding } from '../../src/nn/rotary.ts'
import { quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(async () => {
  assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
  await device.close()
})

class Pair extends Block<'first' | 'second'> {
  declare first: Linear
  declare second: Linear

  constructor(parts: object) {
    super({ type: 'FamilyPair', parts: { first: 'fc_1' } })
    Object.assign(this, parts)
  }
}

test('paths, prints and replacements go by the names of the family, in the order of the parts', () => {
  const pair = new Pair({ second: new Linear(3, 2, { bias: false }), first: new Linear(2, 3) })
  assert.deepEqual(
    [...pair.namedParameters()].map(([path]) => path),
    ['second.weight', 'fc_1.weight', 'fc_1.bias'],
  )
  assert.equal(pair.getModule('fc_1'), pair.first)
  assert.throws(() => pair.getModule('first'), /there is none/)
  const other = new Linear(2, 3)
  pair.setModule('fc_1', other)
  assert.equal(pair.first, other)
  assert.equal(
    String(pair),
    'FamilyPair(\n  (second): Linear(in_features=3, out_features=2, bias=False)\n' +
      '  (fc_1): Linear(in_features=2, out_features=3, bias=True)\n)',
  )
  quantize(pair, { weights: 'int8', include: 'fc_1' })
  assert.ok((pair.first as unknown) instanceof QLinear && pair.second instanceof Linear)
})

test('tables that follow from the options are no parameters, are not copied, and go with the model', () => {
  class Holder extends Block<'rotary'> {
    declare rotary: RotaryEmbedding
    constructor() {
      super({ type: 'Holder', parts: {} })
      this.rotary = new RotaryEmbedding({ size: 4, theta: 10000, scaling: { type: 'default' } })
    }
  }
  using x = Tensor.fromNumbers(device, [1, 2, 3, 4], [1, 1, 1, 4])
  const holder = new Holder()
  holder.rotary.prepare(device, 8)
  assert.deepEqual([...holder.namedTensors()], [])
  const copy = holder.clone()
  const held = device.allocatedBytes
  copy.rotary.prepare(device, 8)
  assert.ok(device.allocatedBytes > held, 'a copy makes its own')
  holder.dispose()
  // Position 0 turns by nothing.
  using y = copy.rotary.forward(x, 0)
  copy.dispose()
  return y.toNumbers().then((values) => assert.deepEqual([...values], [1, 2, 3, 4]))
})
