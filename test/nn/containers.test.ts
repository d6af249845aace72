import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { dequantize } from '../../src/quantize/dequantize.ts'
import { freeze, memoryFootprint, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu')
after(() => device.close())

/** Modules in lists of lists, a plain object and a Map, and one that stands twice. */
class Net extends Module {
  first = new Linear(32, 32)
  stages = [[new Linear(32, 32), new Linear(32, 32)], [new Linear(32, 16)]]
  heads = { cls: new Linear(16, 4), box: new Linear(16, 4) }
  twin = new Map([
    ['a', [new Linear(2, 2)]],
    ['b', [new Linear(2, 2)]],
  ])
  again = this.first
  options = { sizes: [1, 2, 3], name: 'net' }
}

test('modules in containers have the paths that PyTorch gives ModuleList and ModuleDict', () => {
  const net = new Net()
  // Written down from torch 2.15, without the paths of the containers themselves, which are modules there.
  const paths = [
    'first',
    'stages.0.0',
    'stages.0.1',
    'stages.1.0',
    'heads.cls',
    'heads.box',
    'twin.a.0',
    'twin.b.0',
  ]
  assert.deepEqual(
    [...net.namedModules()].map(([path]) => path),
    ['', ...paths],
    'a shared module once',
  )
  assert.deepEqual(
    [...net.namedParameters()].map(([path]) => path),
    [...paths, 'again'].flatMap((path) => [`${path}.weight`, `${path}.bias`]),
    'its tensors under each path',
  )
  for (const path of [...paths, 'again']) {
    assert.ok(net.getModule(path) instanceof Linear, path)
    assert.equal(net.getParameter(`${path}.bias`), (net.getModule(path) as Linear).bias)
  }
  assert.deepEqual(net.modulePaths().get(net.first), ['first', 'again'])
  assert.equal(
    String(net),
    `Net(
  (first): Linear(in_features=32, out_features=32, bias=True)
  (stages): ModuleList(
    (0): ModuleList(
      (0-1): 2 x Linear(in_features=32, out_features=32, bias=True)
    )
    (1): ModuleList(
      (0): Linear(in_features=32, out_features=16, bias=True)
    )
  )
  (heads): ModuleDict(
    (cls): Linear(in_features=16, out_features=4, bias=True)
    (box): Linear(in_features=16, out_features=4, bias=True)
  )
  (twin): ModuleDict(
    (a): ModuleList(
      (0): Linear(in_features=2, out_features=2, bias=True)
    )
    (b): ModuleList(
      (0): Linear(in_features=2, out_features=2, bias=True)
    )
  )
  (again): Linear(in_features=32, out_features=32, bias=True)
)`,
  )
})

test('they are initialized, quantized, frozen, copied and put back', () => {
  const net = initialize(new Net(), device)
  assert.ok([...net.namedTensors()].every(([, tensor]) => tensor instanceof Tensor && !tensor.isMeta))
  const copy = net.clone()
  assert.equal(quantize(net, { weights: 'int8' }).length, 8)
  freeze(net)
  assert.ok(net.heads.box instanceof QLinear && net.twin.get('b')?.[0] instanceof QLinear)
  assert.equal(net.again, net.first, 'one twin at both paths')
  // A byte a weight, four a scale; biases stay float32.
  const rows = 32 * 3 + 16 + 4 + 4 + 2 + 2
  assert.equal(memoryFootprint(net), 32 * 32 * 3 + 32 * 16 + 2 * 16 * 4 + 2 * 4 + rows * 4 + rows * 4)
  assert.equal(dequantize(net).length, 8)
  assert.equal(net.again, net.first)
  assert.ok(net.stages[1][0] instanceof Linear)
  assert.ok(copy.stages[0][1] instanceof Linear && copy.stages[0][1] !== net.stages[0][1])
  assert.ok(
    copy.twin.get('a')?.[0] instanceof Linear && copy.again === copy.first && copy.options === net.options,
  )
  const other = new Linear(16, 4)
  net.setModule('heads.cls', other)
  assert.equal(net.heads.cls, other)
})

test('tensors in containers are parameters, at the paths of ParameterList and ParameterDict', () => {
  class Scales extends Module {
    w = [Tensor.fromNumbers(device, [1, 2]), Tensor.fromNumbers(device, [3])]
    named = { a: Tensor.fromNumbers(device, [4]) }
    seen = [Tensor.fromNumbers(device, [5])]
    override get bufferNames() {
      return ['seen']
    }
  }
  const scales = new Scales()
  assert.deepEqual(
    [...scales.namedTensors()].map(([path]) => path),
    ['w.0', 'w.1', 'named.a', 'seen.0'],
  )
  assert.deepEqual(
    [...scales.namedParameters()].map(([path]) => path),
    ['w.0', 'w.1', 'named.a'],
  )
  const other = Tensor.fromNumbers(device, [6])
  scales.setParameter('w.1', other)
  assert.equal(scales.w[1], other)
  assert.notEqual(scales.clone().w[1], other)
})

test('what has no path is refused in one sentence when the model is first walked', () => {
  const rule =
    'namedModules: modules and tensors of a model must have names, which are strings without dots, numbers, or places in a list'
  class Sets extends Module {
    blocks = new Set([new Linear(2, 2)])
  }
  class Dots extends Module {
    heads = { inner: { 'a.b': new Linear(2, 2) } }
  }
  class Keys extends Module {
    by = new Map([[{}, Tensor.meta([2])]])
  }
  const refused = (model: Module, message: string) => {
    assert.throws(() => initialize(model, device), { name: 'ShapeError', message })
    assert.throws(() => String(model), { name: 'ShapeError', message })
  }
  refused(new Sets(), `${rule}; blocks gives Linear none (in a Set, say); take a list or a Map`)
  refused(new Dots(), `${rule}; heads.inner gives Linear none (in a Set, say); take a list or a Map`)
  refused(new Keys(), `${rule}; by gives a tensor none (in a Set, say); take a list or a Map`)
})

test('a module that contains itself, or the one above it, is refused; a function that gives it is not', () => {
  class Child extends Module {
    parent: Module | (() => Module)
    constructor(parent: Module, hidden: boolean) {
      super()
      this.parent = hidden ? () => parent : parent
    }
  }
  class Parent extends Module {
    child: Child
    constructor(hidden: boolean) {
      super()
      this.child = new Child(this, hidden)
    }
  }
  assert.throws(() => [...new Parent(false).namedModules()], {
    name: 'ShapeError',
    message:
      'namedModules: a module must not contain itself; Parent stands again at child.parent; hold a reference to a module above in a function, () => module, which is no part of the model',
  })
  assert.throws(() => String(new Parent(false)), { name: 'ShapeError' })
  assert.equal([...new Parent(true).namedModules()].length, 2)
  // A plain object that holds itself holds no module.
  class Config extends Module {
    config: Record<string, unknown> = {}
  }
  const model = new Config()
  model.config.self = model.config
  assert.equal([...model.namedModules()].length, 1)
})
