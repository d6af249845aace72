import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { Random } from '../../src/core/random.ts'
import { openDevice } from '../../src/devices/open.ts'
import {
  BatchNorm2d,
  Conv2d,
  compile,
  initialize,
  Linear,
  Module,
  ops,
  Sequential,
  trace,
} from '../../src/index.ts'
import type { Graph } from '../../src/tensor/graph.ts'
import { scope } from '../../src/tensor/scope.ts'
import { copyTo, Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

/** Two layers around a skip, with a table of its own and an attribute of every kind. */
class Small extends Module {
  fc = new Linear(4, 4)
  head = new Sequential(new Linear(4, 2, { bias: false, dtype: 'float16' }))
  private readonly table = () => Tensor.fromNumbers(device, [1, 2, 3, 4])

  forward(x: Tensor): Tensor {
    return scope(() => {
      const y = ops.relu(this.fc.forward(x))
      const moved = ops.transpose(ops.add(ops.mul(y, x), this.table()), 0, 1)
      return ops.softmax(this.head.forward(ops.concat([moved.view([2, 4]), ops.slice(x, 0, 0, 1)])), 0)
    })
  }
}

function small(): { model: Small; x: Tensor } {
  const model = initialize(new Small(), device, { seed: 1 })
  return { model, x: Tensor.fromNumbers(device, [1, -2, 3, 0.5, 0.25, 2, -1, 1], [2, 4]) }
}

/**
 * Fails unless the graph, and its compiled list, give what the model does, bit for bit, on several inputs.
 */
async function replays(model: Module & { forward(x: Tensor): Tensor }, inputs: Tensor[]): Promise<void> {
  using graph = trace(model, [inputs[0]])
  using compiled = compile(model, [inputs[0]])
  for (const x of [...inputs, inputs[0]]) {
    using expected = model.forward(x)
    using again = graph.run(x) as Tensor
    using kept = compiled.run(x) as Tensor
    assert.deepEqual(await again.read(), await expected.read())
    assert.deepEqual(await kept.read(), await expected.read())
  }
}

describe('trace', () => {
  test('the graph of a small model, drawn by hand', () => {
    const { model, x } = small()
    assert.equal(
      String(trace(model, [x])),
      [
        'graph(%input0 [2,4] float32)',
        '  %constant0 = constant [4] float32',
        '  %0 = linear(%input0, weight=fc.weight, bias=fc.bias) [2,4] float32  # fc',
        '  %1 = relu(%0) [2,4] float32',
        '  %2 = mul(%1, %input0) [2,4] float32',
        '  %3 = add(%2, %constant0) [2,4] float32',
        '  %4 = permute(%3, axes=[1, 0]) [4,2] float32',
        '  %5 = view(%4, shape=[2, 4]) [2,4] float32',
        '  %6 = slice(%input0, axis=0, start=0, end=1) [1,4] float32',
        '  %7 = concat([%5, %6]) [3,4] float32',
        '  %8 = linear(%7, weight=head.0.weight) [3,2] float32  # head.0',
        '  %9 = softmax(%8, axis=0) [3,2] float32',
        '  return %9',
      ].join('\n'),
    )
  })

  test('what nothing reads is left out, and what fed that alone; what writes is not', async () => {
    /** A mean of each call is kept; a norm that is not used is computed, with a table of its own. */
    class Unread extends Module {
      fc = new Linear(2, 2, { bias: false })
      unused = new Linear(2, 2)
      mean = Tensor.full(device, [2, 2], 0)

      forward(x: Tensor): Tensor {
        const y = this.fc.forward(x)
        ops.softmax(ops.mul(this.unused.forward(y), Tensor.fromNumbers(device, [1, 2])), 1)
        copyTo(ops.mul(y, y), this.mean)
        return y
      }
    }
    const model = initialize(new Unread(), device, { seed: 1 })
    const x = Tensor.fromNumbers(device, [1, 2, 3, 4], [2, 2])
    const allocated = device.allocatedBytes
    using graph = trace(model, [x])
    assert.equal(device.allocatedBytes, allocated)
    assert.equal(
      String(graph),
      [
        'graph(%input0 [2,2] float32)',
        '  %0 = linear(%input0, weight=fc.weight) [2,2] float32  # fc',
        '  %1 = mul(%0, %0) [2,2] float32',
        '  copyTo(%1, y=mean)',
        '  return %0',
      ].join('\n'),
    )
    assert.deepEqual([...graph.parameters.keys()], ['fc.weight', 'mean'])
    assert.deepEqual(
      graph.find('linear')[0].users.map(({ name }) => name),
      ['mul'],
    )
    model.mean.write(new Uint8Array(16))
    const [y] = [graph.run(x) as Tensor]
    assert.deepEqual(
      await model.mean.read(),
      (await y.toNumbers()).map((value) => Math.fround(value * value)),
    )
  })

  test('a norm in training writes its statistics, though its values are not read', () => {
    class Statistics extends Module {
      norm = new BatchNorm2d(2)
      forward(x: Tensor): Tensor {
        this.norm.forward(x)
        return ops.relu(x)
      }
    }
    const model = initialize(new Statistics(), device).train()
    assert.deepEqual(
      trace(model, [Tensor.full(device, [1, 2, 2, 2], 1)]).nodes.map(({ name }) => name),
      ['batchNorm', 'relu'],
    )
  })

  test('who feeds whom', () => {
    const { model, x } = small()
    const graph = trace(model, [x])
    const [first, second] = graph.find('linear')
    assert.equal(first.module, 'fc')
    assert.deepEqual(
      first.inputs.map(({ kind, name }) => [kind, name]),
      [
        ['input', 'input0'],
        ['parameter', 'fc.weight'],
        ['parameter', 'fc.bias'],
      ],
    )
    assert.deepEqual(first.users, graph.find('relu'))
    assert.deepEqual(
      graph.inputs[0].users.map(({ name }) => name),
      ['linear', 'mul', 'slice'],
    )
    assert.deepEqual([...graph.parameters.keys()].sort(), ['fc.bias', 'fc.weight', 'head.0.weight'])
    assert.equal(graph.parameters.get('head.0.weight')?.dtype, 'float16')
    assert.deepEqual(second.shape, [3, 2])
    assert.deepEqual(graph.find('softmax')[0].attributes, { axis: 0 })
  })

  test('runs again with equal results, and gives everything back', async () => {
    const { model, x } = small()
    const others = [
      [0, 0, 0, 0, 0, 0, 0, 0],
      [3, 1, 4, 1, 5, 9, 2, 6],
    ].map((values) => Tensor.fromNumbers(device, values, [2, 4]))
    const allocated = device.allocatedBytes
    await replays(model, [x, ...others])
    assert.equal(device.allocatedBytes, allocated)
  })

  test('operations of several values, and running statistics, run again', async () => {
    const random = new Random(3)
    class Trained extends Module {
      conv = new Conv2d(1, 2, 3, { padding: 1 })
      norm = new BatchNorm2d(2)
      forward(x: Tensor): { y: Tensor; pooled: [Tensor] } {
        const y = this.norm.forward(this.conv.forward(x))
        return { y, pooled: [ops.maxPool2d(y, 2)] }
      }
    }
    const model = initialize(new Trained(), device, { seed: 2 }).train()
    const x = Tensor.fromNumbers(
      device,
      Array.from({ length: 32 }, () => random.normal()),
      [2, 1, 4, 4],
    )
    const graph = trace(model, [x])
    assert.match(
      String(graph),
      /%1 = batchNorm\(%0, weight=norm.weight, bias=norm.bias, .*running=\{mean: norm.running_mean/,
    )
    assert.match(String(graph), /%2 = maxPool2d\(%1.0, kernelSize=2\) \[2,2,2,2\] float32, \[2,2,2,2\] int32/)
    assert.match(String(graph), /return \{y: %1.0, pooled: \[%2.0\]\}/)
    const expected = model.forward(x)
    const again = graph.run(x) as ReturnType<Trained['forward']>
    assert.deepEqual(await again.y.read(), await expected.y.read())
    assert.deepEqual(await again.pooled[0].read(), await expected.pooled[0].read())
    assert.deepEqual(await model.norm.num_batches_tracked?.toNumbers(), Float64Array.of(3))
  })

  test('refuses what does not fit', () => {
    const { model, x } = small()
    const graph: Graph = trace(model, [x])
    assert.throws(() => graph.run(), {
      name: 'ShapeError',
      message: 'run: the graph takes 1 inputs; received 0',
    })
    assert.throws(() => graph.run(x.view([4, 2])), {
      message: 'run: input0 must be [2,4]; received [4,2]',
    })
    assert.throws(() => graph.run(Tensor.fromArray(device, new Int32Array(8), [2, 4])), {
      name: 'DTypeError',
      message: 'run: input0 must be float32; received int32',
    })
    assert.throws(() => trace(model, [3]), {
      message: 'trace: exampleInputs must hold a tensor; received none',
    })
    // What was watched is watched no more.
    assert.equal(Object.hasOwn(model.fc, 'forward'), false)
  })
})
