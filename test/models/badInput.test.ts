import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadStateDict, requantize, type SavedTensor, stateDict } from '../../src/checkpoints/stateDict.ts'
import { BatchNorm1d } from '../../src/nn/batchNorm.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { freeze, quantizationMap, quantize } from '../../src/quantize/quantize.ts'
import { int4WeightOnly } from '../../src/quantize/recipes.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'
import { type Case, device, int8, Net, net, numbers, quantized, refuse, rows } from '../nn/refused.ts'

/*
 * Whatever is wrong with what is calibrated, quantized or loaded: one sentence that says what, where, and
 * what was expected.
 */

function calibrateOn(x: Tensor): Promise<unknown> {
  const model = quantized()
  return calibrate(model, () => void model.forward(x))
}

/** Loads a state that was changed. */
async function loadChanged(change: (state: Map<string, SavedTensor>) => void): Promise<void> {
  const state = await stateDict(net())
  change(state)
  await loadStateDict(net(), state)
}

const zeros = (dtype: 'float32' | 'int32', shape: number[], byteLength: number): SavedTensor => ({
  dtype,
  shape,
  bytes: new Uint8Array(byteLength),
})

const calibration: Case[] = [
  {
    name: 'no data',
    run: () => calibrate(quantized(), () => {}),
    says: 'calibrate: run must pass at least one batch through the model; no quantized module was reached',
  },
  {
    name: 'a batch of no rows',
    run: () => calibrateOn(rows(0)),
    says: 'calibrate: batches must hold values; the input of first is [0,64]',
  },
  {
    name: 'NaN',
    run: () => calibrateOn(rows(2, (i) => (i === 70 ? NaN : 1))),
    says: 'calibrate: activations must be finite; the input of first held NaN',
  },
  {
    name: 'an infinity',
    run: () => calibrateOn(rows(2, (i) => (i === 70 ? -Infinity : 1))),
    says: 'calibrate: activations must be finite; the input of first held an infinity',
  },
  {
    name: 'only weights quantized',
    run: () => calibrate(quantized({ weights: 'int8' }), () => {}),
    says: 'calibrate: the model must have quantized activations, or a quantizer that collects; quantize(model, { weights, activations }) first',
  },
  {
    name: 'nothing quantized',
    run: () => calibrate(net(), () => {}),
    says: 'calibrate: the model must have quantized activations, or a quantizer that collects; quantize(model, { weights, activations }) first',
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
    run: () => quantize(net(), { weights: 'int5' as 'int4' }),
    says: 'quantize: weights must be int2, int3, int4, int8, float8, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, nf4 or fp4; received "int5"',
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
    run: () =>
      loadChanged((state) => {
        state.delete('first.bias')
        state.set('third.weight', zeros('float32', [1], 4))
        state.set('second.weight', zeros('float32', [32, 10], 1280))
      }),
    says: 'state: the tensors must be those of the model; first.bias is missing; second.weight must be [10,32]; it is [32,10]; third.weight is not a part of the model',
  },
  {
    name: 'an empty state',
    run: () => loadStateDict(net(), new Map()),
    says: 'state: the tensors must be those of the model; first.weight is missing; first.bias is missing; second.weight is missing; second.bias is missing',
  },
  {
    name: 'bytes that are not those of the shape',
    run: () => loadChanged((state) => state.set('first.bias', zeros('float32', [32], 127))),
    says: 'state: first.bias must take 128 bytes for float32 [32]; it has 127',
  },
  {
    name: 'integers for a weight',
    run: () => loadChanged((state) => state.set('first.bias', zeros('int32', [32], 128))),
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
    name: "GPTQ's codes in a float model, which no map would explain",
    run: () => loadChanged((state) => state.set('first.g_idx', zeros('int32', [4], 16))),
    says: 'state: the tensors must be those of the model; first.g_idx is not a part of the model',
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
      await requantize(
        new Net(),
        await stateDict(model),
        { first: { weights: 'int4', activations: 'none' } },
        { device },
      )
    },
    says: 'state: the tensors must be those of the model; first.weight._data._data is missing; first.weight._shift is missing; first.weight._data is not a part of the model',
  },
  {
    name: 'a map of no type',
    run: async () => {
      const model = quantized({ weights: 'int8' })
      await requantize(
        new Net(),
        await stateDict(model),
        { first: { weights: 'int9' as 'int8', activations: 'none' } },
        { device },
      )
    },
    says: 'requantize: first: weights must be int2, int3, int4, int8, float8, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, nf4 or fp4; received "int9"',
  },
  {
    name: 'a map of 4-bit activations',
    run: async () => {
      const model = quantized({ weights: 'int8' })
      await requantize(
        new Net(),
        await stateDict(model),
        { first: { weights: 'int8', activations: 'int4' } },
        { device },
      )
    },
    says: 'requantize: first: activations must be int8 or one of float8; received qint4',
  },
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
  await assert.rejects(
    requantize(model, state, { first: { weights: 'int8', activations: 'none' } }),
    /second\.bias is missing/,
  )
  assert.equal(model.first, first)
})

refuse({ calibration, quantization, states })
