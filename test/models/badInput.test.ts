import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { accuracy } from '../../src/evaluate/accuracy.ts'
import { loadStateDict, requantize, stateDict } from '../../src/models/stateDict.ts'
import { BatchNorm1d, BatchNorm2d } from '../../src/nn/batchNorm.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import { ConvTranspose2d } from '../../src/nn/convTranspose.ts'
import { stackImages } from '../../src/nn/data/image.ts'
import { DataLoader } from '../../src/nn/data/loader.ts'
import { Embedding } from '../../src/nn/embedding.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { crossEntropyLoss, mseLoss, nllLoss } from '../../src/nn/losses.ts'
import { Module } from '../../src/nn/module.ts'
import { MultiheadAttention } from '../../src/nn/multiheadAttention.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { clipGradNorm } from '../../src/nn/optim/clip.ts'
import type { ParameterOptimizer } from '../../src/nn/optim/optimizer.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { type TrainOptions, trainEpoch } from '../../src/nn/training.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { freeze, type QuantizeOptions, quantizationMap, quantize } from '../../src/quantize/quantize.ts'
import { int4WeightOnly } from '../../src/quantize/recipes.ts'
import { logSoftmax, relu } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

/*
 * Whatever is wrong with what is trained, calibrated, quantized or loaded: one sentence that says what, where, and what was expected.
 */

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

class Net extends Module {
  first = new Linear(64, 32)
  second = new Linear(32, 10)

  forward(x: Tensor): Tensor {
    return scope(() => this.second.forward(relu(this.first.forward(x))))
  }
}

const numbers = (shape: number[], value = (i: number) => Math.sin(i)) =>
  Tensor.fromNumbers(
    device,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i)),
    shape,
  )
const net = () => initialize(new Net(), device)
const rows = (count: number, value?: (i: number) => number) => numbers([count, 64], value)
const int8 = { weights: 'int8', activations: 'int8' } as const
function quantized(options: QuantizeOptions = int8): Net {
  const model = net()
  quantize(model, options)
  return model
}
const labels = (...values: number[]) => Tensor.fromArray(device, Int32Array.from(values))

/** One pass of batches of four rows, with these labels. */
function train(targets: readonly number[][], options: Partial<TrainOptions<Tensor>> = {}, x = rows(4)): Promise<Float64Array> {
  const model = net()
  const batches = targets.map((values) => labels(...values))
  const loss = (y: Tensor) => crossEntropyLoss(model.forward(x), y)
  return trainEpoch(model, batches, { optimizer: new SGD(model.parameters(), { lr: 0.1 }), loss, ...options })
}

interface Case {
  name: string
  run: () => unknown
  /** All of the message. */
  says: string
}

const calibration: Case[] = [
  {
    name: 'no data',
    run: () => calibrate(quantized(), () => {}),
    says: 'calibrate: run must pass at least one batch through the model; no quantized module was reached',
  },
  {
    name: 'a batch of no rows',
    run: () => {
      const model = quantized()
      return calibrate(model, () => void model.forward(rows(0)))
    },
    says: 'calibrate: batches must hold values; the input of first is [0,64]',
  },
  {
    name: 'NaN',
    run: () => {
      const model = quantized()
      return calibrate(model, () => void model.forward(rows(2, (i) => (i === 70 ? NaN : 1))))
    },
    says: 'calibrate: activations must be finite; the input of first held NaN',
  },
  {
    name: 'an infinity',
    run: () => {
      const model = quantized()
      return calibrate(model, () => void model.forward(rows(2, (i) => (i === 70 ? -Infinity : 1))))
    },
    says: 'calibrate: activations must be finite; the input of first held an infinity',
  },
  {
    name: 'only weights quantized',
    run: () => calibrate(quantized({ weights: 'int8' }), () => {}),
    says: 'calibrate: the model must have quantized activations; quantize(model, { weights, activations }) first',
  },
  {
    name: 'nothing quantized',
    run: () => calibrate(net(), () => {}),
    says: 'calibrate: the model must have quantized activations; quantize(model, { weights, activations }) first',
  },
  {
    name: 'momentum beyond 1',
    run: () => calibrate(quantized(), () => {}, { momentum: 1.5 }),
    says: 'calibrate: momentum must lie in 0..1, 1 excluded; received 1.5',
  },
  {
    name: 'never calibrated, strict',
    run: () => quantized({ ...int8, strict: true }).forward(rows(1)),
    says: 'forward: activations must be calibrated (strict); first has no scale yet',
  },
]

const quantization: Case[] = [
  {
    name: 'quantized twice',
    run: () => quantize(quantized(), int8),
    says: 'quantize: the model must have a layer to quantize, such as Linear; all 2 are quantized already',
  },
  {
    name: 'quantized after freezing',
    run: () => {
      const model = quantized()
      freeze(model)
      quantize(model, int8)
    },
    says: 'quantize: the model must have a layer to quantize, such as Linear; all 2 are quantized already',
  },
  {
    name: 'no layer that could be',
    run: () => quantize(new BatchNorm1d(4), int8),
    says: 'quantize: the model must have a layer to quantize, such as Linear; it has none',
  },
  {
    name: 'the layer itself',
    run: () => quantize(new Linear(64, 4), int8),
    says: 'quantize: the model must contain the layer, so that its twin can take its place; it is the layer',
  },
  {
    name: 'a glob that matches nothing',
    run: () => quantize(net(), { ...int8, exclude: ['first', 'secnd'] }),
    says: 'quantize: "secnd" must match a module; the nearest are second, first',
  },
  {
    name: 'an empty glob',
    run: () => quantize(net(), { ...int8, include: '' }),
    says: 'quantize: "" must match a module; the nearest are first, second',
  },
  {
    name: 'everything excluded',
    run: () => quantize(net(), { ...int8, exclude: '*' }),
    says: 'quantize: the model must have a layer to quantize, such as Linear; include and exclude leave none of 2',
  },
  {
    name: 'weights of no type',
    run: () => quantize(net(), { weights: 'int3' as 'int4' }),
    says: 'quantize: weights must be int2, int4, int8, float8, float8_e4m3fn, float8_e5m2 or float8_e4m3fnuz; received "int3"',
  },
  {
    name: 'activations of 4 bits',
    run: () => quantize(net(), { weights: 'int8', activations: 'int4' }),
    says: 'quantize: activations must be int8 or one of float8; received qint4',
  },
  {
    name: 'groups that do not divide',
    run: () => quantize(net(), { weights: 'int4', groupSize: 96 }),
    says: 'quantize: groupSize (96) must divide the columns of first (64); exclude it or choose another',
  },
  {
    name: 'a recipe whose groups do not divide',
    run: () => quantize(net(), int4WeightOnly({ groupSize: 128 })),
    says: 'quantize: groupSize (128) must divide the columns of first (64); exclude it or choose another',
  },
  {
    name: 'frozen without values',
    run: () => freeze(withoutValues()),
    says: 'tensor: [32,64] float32 has no memory yet (load its values first)',
  },
]

function withoutValues(): Net {
  const model = new Net()
  quantize(model, { weights: 'int8' })
  return model
}

const states: Case[] = [
  {
    name: 'missing, extra and misshapen tensors, all at once',
    run: async () => {
      const state = await stateDict(net())
      state.delete('first.bias')
      state.set('third.weight', { dtype: 'float32', shape: [1], bytes: new Uint8Array(4) })
      state.set('second.weight', { dtype: 'float32', shape: [32, 10], bytes: new Uint8Array(1280) })
      await loadStateDict(net(), state)
    },
    says: 'state: the tensors must be those of the model; first.bias is missing; second.weight must be [10,32]; it is [32,10]; third.weight is not a part of the model',
  },
  {
    name: 'an empty state',
    run: () => loadStateDict(net(), new Map()),
    says: 'state: the tensors must be those of the model; first.weight is missing; first.bias is missing; second.weight is missing; second.bias is missing',
  },
  {
    name: 'bytes that are not those of the shape',
    run: async () => {
      const state = await stateDict(net())
      state.set('first.bias', { dtype: 'float32', shape: [32], bytes: new Uint8Array(127) })
      await loadStateDict(net(), state)
    },
    says: 'state: first.bias must take 128 bytes for float32 [32]; it has 127',
  },
  {
    name: 'integers for a weight',
    run: async () => {
      const state = await stateDict(net())
      state.set('first.bias', { dtype: 'int32', shape: [32], bytes: new Uint8Array(128) })
      await loadStateDict(net(), state)
    },
    says: 'state: the tensors must be those of the model; first.bias must be float32, float16 or bfloat16; it is int32',
  },
  {
    name: 'a quantized state in a float model',
    run: async () => {
      const model = quantized({ weights: 'int8', exclude: 'first' })
      freeze(model)
      await loadStateDict(net(), await stateDict(model))
    },
    says: 'state: the tensors must be those of the model; second.weight is missing; second.input_scale is not a part of the model; second.output_scale is not a part of the model; second.weight._data is not a part of the model; second.weight._scale is not a part of the model; quantized layers must be in the map that requantize takes',
  },
  {
    name: 'activation scales missing',
    run: async () => {
      const model = quantized()
      const state = await stateDict(model)
      state.delete('first.input_scale')
      await requantize(new Net(), state, quantizationMap(model), { device })
    },
    says: 'state: the tensors must be those of the model; first.input_scale is missing',
  },
  {
    name: 'a map of another model',
    run: async () => {
      const model = quantized()
      await requantize(new Net(), await stateDict(model), { frist: quantizationMap(model).first }, { device })
    },
    says: 'requantize: the map must name layers of the model; "frist" is not one, the nearest are first, second',
  },
  {
    name: 'a map of other types',
    run: async () => {
      const model = quantized({ weights: 'int8', exclude: 'second' })
      freeze(model)
      await requantize(new Net(), await stateDict(model), { first: { weights: 'int4', activations: 'none' } }, { device })
    },
    says: 'state: the tensors must be those of the model; tensor "first.weight._data._data" must be in the file; it is not',
  },
  {
    name: 'a map of no type',
    run: async () => {
      const model = quantized({ weights: 'int8' })
      await requantize(new Net(), await stateDict(model), { first: { weights: 'int9' as 'int8', activations: 'none' } }, { device })
    },
    says: 'requantize: first: weights must be int2, int4, int8, float8, float8_e4m3fn, float8_e5m2 or float8_e4m3fnuz; received "int9"',
  },
  {
    name: 'a map of 4-bit activations',
    run: async () => {
      const model = quantized({ weights: 'int8' })
      await requantize(new Net(), await stateDict(model), { first: { weights: 'int8', activations: 'int4' } }, { device })
    },
    says: 'requantize: first: activations must be int8 or one of float8; received qint4',
  },
]

const training: Case[] = [
  {
    name: 'a label out of range, as numbers',
    run: () => crossEntropyLoss(numbers([3, 10]), [1, 10, 2]),
    says: 'crossEntropyLoss: targets must lie in 0..9 or be -100; received 10 at 1',
  },
  {
    name: 'a negative label',
    run: () => nllLoss(logSoftmax(numbers([3, 10])), [1, 2, -1]),
    says: 'nllLoss: targets must lie in 0..9 or be -100; received -1 at 2',
  },
  {
    name: 'a label out of range, on the device',
    run: () =>
      train([
        [0, 1, 2, 3],
        [0, 1, 12, 3],
      ]),
    says: 'trainEpoch: loss and gradients must be finite; the loss of step 2 is NaN: targets of crossEntropyLoss must lie in 0..9 or be -100; received 12 at 2',
  },
  {
    name: 'a label out of range, when a batch is made',
    run: () => {
      const image = { data: new Float32Array(4), channels: 1, height: 2, width: 2 }
      stackImages(
        device,
        10,
      )([
        { image, label: 3 },
        { image, label: 10 },
      ])
    },
    says: 'stackImages: labels must lie in 0..9; received 10 at 1',
  },
  {
    name: 'a label out of range, when accuracy is measured',
    run: () => accuracy(net(), [{ x: rows(2), y: labels(1, 10) }]),
    says: 'accuracy: labels must lie in 0..9; received 10 at 1',
  },
  {
    name: 'too few labels',
    run: () => crossEntropyLoss(numbers([3, 10]), labels(1, 2)),
    says: 'crossEntropyLoss: needs 3 targets; received 2',
  },
  {
    name: 'labels that are floats',
    run: () => crossEntropyLoss(numbers([3, 10]), numbers([3])),
    says: 'crossEntropyLoss: target must be int32; received float32',
  },
  {
    name: 'a NaN loss',
    run: () =>
      train(
        [[0, 1, 2, 3]],
        {},
        rows(4, (i) => (i === 200 ? NaN : 1)),
      ),
    says: 'trainEpoch: loss and gradients must be finite; the loss of step 1 is NaN: detectAnomaly tells which layer was first',
  },
  {
    name: 'a NaN loss, looked into',
    run: () =>
      train(
        [[0, 1, 2, 3]],
        { detectAnomaly: true },
        rows(4, (i) => (i === 200 ? NaN : 1)),
      ),
    says: 'trainEpoch: loss and gradients must be finite; the loss of step 1 is NaN: the output of first (Linear) is NaN',
  },
  {
    name: 'no batches',
    run: () => train([]),
    says: 'trainEpoch: there must be a batch to train on; received none',
  },
  {
    name: 'a loss for each row',
    run: () => {
      const model = net()
      const loss = (y: Tensor) => crossEntropyLoss(model.forward(rows(4)), y, { reduction: 'none' })
      return trainEpoch(model, [labels(0, 1, 2, 3)], { optimizer: new SGD(model.parameters()), loss })
    },
    says: 'backward: the loss must be one value; received [4]',
  },
  {
    name: 'a loss of other shapes',
    run: () => mseLoss(numbers([2, 3]), numbers([3, 2])),
    says: 'mseLoss: target must be [2,3]; received [3,2]',
  },
  {
    name: 'no parameters',
    run: () => new SGD(new BatchNorm1d(4, { affine: false }).parameters()),
    says: 'SGD: a group must have a parameter; received none',
  },
  {
    name: 'parameters without values',
    run: () => new SGD(new Net().parameters()),
    says: 'SGD: parameters must have memory (initialize or load the model first); received Tensor([32,64], float32)',
  },
  {
    name: 'frozen parameters',
    run: () => {
      const model = quantized({ weights: 'int8' })
      freeze(model)
      return new Adam(model.parameters())
    },
    says: 'Adam: a frozen weight cannot be trained; received QTensor([32,64], qint8, per row, float32)',
  },
  {
    name: 'a negative learning rate',
    run: () => new Adam(net().parameters(), { lr: -1e-3 }),
    says: 'Adam: lr must be finite and not negative; received -0.001',
  },
  {
    name: 'a learning rate that a schedule made NaN',
    run: () => {
      const model = net()
      const optimizer: ParameterOptimizer = new SGD(model.parameters(), { lr: 0.1 })
      optimizer.paramGroups[0].lr = NaN
      return trainEpoch(model, [labels(0, 1, 2, 3), labels(0, 1, 2, 3)], {
        optimizer,
        loss: (y) => crossEntropyLoss(model.forward(rows(4)), y),
      })
    },
    says: 'SGD: lr must be finite and not negative; received NaN',
  },
  {
    name: 'no gradients to clip',
    run: () => clipGradNorm(net().parameters(), 1),
    says: 'clipGradNorm: a parameter must have a gradient; received none',
  },
  {
    name: 'a loader of nothing',
    run: () => new DataLoader({ length: 0, get: () => 0 }, { collate: (samples) => samples }),
    says: 'DataLoader: the data set must fill a batch of 1; received 0 samples',
  },
  {
    name: 'accuracy of nothing',
    run: () => accuracy(net(), []),
    says: 'accuracy: there must be a sample; received none',
  },
]

const layers: Case[] = [
  {
    name: 'columns that do not fit',
    run: () => net().forward(numbers([2, 63])),
    says: 'matmul: columns of x (63) must equal columns of w (64); x [2,63], w [32,64]',
  },
  {
    name: 'columns that do not fit, quantized',
    run: () => {
      const model = quantized({ weights: 'int4' })
      freeze(model)
      return model.forward(numbers([2, 63]))
    },
    says: 'qmatmul: columns of x (63) must equal columns of w (64); x [2,63], w [32,64] qint4',
  },
  {
    name: 'a kernel larger than the padded image',
    run: () => initialize(new Conv2d(1, 1, 5, { padding: 1 }), device).forward(numbers([1, 1, 2, 2])),
    says: 'conv2d: the kernel must fit into the padded image; received x [1,1,2,2], w [1,1,5,5], padding 1,1, dilation 1,1',
  },
  {
    name: 'channels that do not fit',
    run: () => initialize(new Conv2d(3, 4, 1), device).forward(numbers([1, 2, 4, 4])),
    says: 'conv2d: channels of x (2) must be groups (1) times those of w (3), and groups must divide outputs (4); received x [1,2,4,4], w [4,3,1,1]',
  },
  {
    name: 'groups that do not divide the channels',
    run: () => new Conv2d(3, 4, 1, { groups: 2 }),
    says: 'Conv2d: groups (2) must divide the channels; received 3 and 4',
  },
  {
    name: 'groups that do not divide the outputs',
    run: () => new Conv2d(4, 3, 1, { groups: 2 }),
    says: 'Conv2d: groups (2) must divide the channels; received 4 and 3',
  },
  {
    name: 'transposed groups that do not divide',
    run: () => new ConvTranspose2d(4, 3, 1, { groups: 2 }),
    says: 'ConvTranspose2d: groups (2) must divide the channels; received 4 and 3',
  },
  {
    name: 'a stride of 0',
    run: () => initialize(new Conv2d(1, 1, 1, { stride: 0 }), device).forward(numbers([1, 1, 2, 2])),
    says: 'conv2d: stride must be whole and at least 1; received 0,0',
  },
  {
    name: 'heads that do not divide',
    run: () => new MultiheadAttention(10, 3),
    says: 'MultiheadAttention: heads must divide embedDim (10); received 3',
  },
  {
    name: 'one value per channel in training',
    run: () =>
      initialize(new BatchNorm1d(3), device)
        .train()
        .forward(numbers([1, 3])),
    says: 'batchNorm: needs more than one value per channel to train; received [1,3]',
  },
  {
    name: 'one pixel of one image in training',
    run: () =>
      initialize(new BatchNorm2d(3), device)
        .train()
        .forward(numbers([1, 3, 1, 1])),
    says: 'batchNorm: needs more than one value per channel to train; received [1,3,1,1]',
  },
  {
    name: 'channels that batch normalization does not have',
    run: () => initialize(new BatchNorm2d(3), device).forward(numbers([2, 4, 1, 1])),
    says: 'BatchNorm2d: x must have 3 channels; received [2,4,1,1]',
  },
  {
    name: 'indices that are floats',
    run: () => initialize(new Embedding(4, 2), device).forward(numbers([3])),
    says: 'embedding: ids must be int32; received float32',
  },
  { name: 'a layer of no size', run: () => new Linear(0.5, 3), says: 'meta: sizes must be whole numbers, 0 or more; received [3,0.5]' },
]

test('what is not wrong: one sample, freezing twice, one value per channel when nothing trains', async () => {
  const model = quantized()
  // By hand: the largest magnitude over 127.
  const [first] = await calibrate(model, () => void model.forward(rows(1, (i) => (i === 5 ? -254 : 1))))
  assert.equal(first.inputScale, 2)
  freeze(model)
  const { weight } = model.first
  freeze(model)
  assert.equal(model.first.weight, weight)
  assert.deepEqual(
    [
      ...(await initialize(new BatchNorm1d(2), device)
        .forward(numbers([1, 2], () => 0))
        .toNumbers()),
    ],
    [0, 0],
  )
})

test('a model that refused a map has its float layers still', async () => {
  const model = net()
  const { first } = model
  const state = await stateDict(quantized({ weights: 'int8' }))
  state.delete('second.bias')
  await assert.rejects(requantize(model, state, { first: { weights: 'int8', activations: 'none' } }), /second\.bias is missing/)
  assert.equal(model.first, first)
})

for (const [group, cases] of Object.entries({ calibration, quantization, states, training, layers })) {
  test(`bad input: ${group}`, async (t) => {
    for (const { name, run, says } of cases) {
      await t.test(name, async () => {
        const error: unknown = await (async () => run())().then(
          () => assert.fail('nothing was refused'),
          (error) => error,
        )
        assert.ok(error instanceof Error)
        t.diagnostic(`${name} → ${error.name}: ${error.message}`)
        assert.match(error.name, /^(Shape|DType|Format|Device)Error$/)
        assert.equal(error.message, says)
      })
    }
  })
}
