import { openDevice } from '../../src/devices/open.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { mseLoss } from '../../src/nn/losses.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { quantizeByName } from '../../src/quantize/recipes.ts'
import { affine, relu } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { type Case, device, Net, net, refuse, rows } from './refused.ts'

/*
 * Options and values that cannot be, as they are misspelled or meant by whoever comes from Python: one
 * sentence that says what to write.
 */

const options: Case[] = [
  {
    name: 'an option with a letter too many',
    run: () => quantize(net(), { weights: 'int4', excludes: 'first' } as QuantizeOptions),
    says: 'quantize: unknown option "excludes"; did you mean "exclude"?',
  },
  {
    name: 'an option of a former version',
    run: () => quantize(net(), { weights: 'int4', optimizer: 'hqq' } as QuantizeOptions),
    says: 'quantize: unknown option "optimizer"; what chooses scales is "algorithm"',
  },
  {
    name: 'a quantizer that there is not',
    run: () => quantize(net(), { weights: 'int4', algorithm: 'awq' as 'hqq' }),
    says: 'quantize: algorithm must be absmax, max, minmax, mlx, hqq, hqqZeros, codebook, doubleQuant, llmInt8, torchaoInt8, torchaoFloat8, torchaoIntx, mxfp4Minmax, nvfp4Minmax, ternary, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, tq2_0 or mxfp4, or a quantizer of your own; received "awq"',
  },
  {
    name: 'no options',
    run: () => quantize(net(), undefined as unknown as QuantizeOptions),
    says: 'quantize: weights must be int2, int3, int4, int8, float8, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, nf4 or fp4; received nothing',
  },
  {
    name: 'a type in the place of options',
    run: () => quantize(net(), 'int4' as unknown as QuantizeOptions),
    says: 'quantize: options must be an object with weights, activations, include, exclude, algorithm, groupSize, computeDtype, outlierThreshold, layers, overrides, strict, zeroPoints, symmetric, scaleDtype, blockRows; received "int4"',
  },
  {
    name: 'a class in the place of a model',
    run: () => quantize(Net as unknown as Net, { weights: 'int4' }),
    says: 'quantize: model must be a Module, a model or a layer; received the function Net',
  },
  {
    name: 'a recipe for a layer with a wrong option',
    run: () => quantizeByName(net(), { first: { weights: 'int4', group_size: 32 } as QuantizeOptions }),
    says: 'quantizeByName: "first": unknown option "group_size"; did you mean "groupSize"?',
  },
  {
    name: 'a pattern that is none',
    run: () => quantizeByName(net(), { 're:(': { weights: 'int4' } }),
    says: 'quantizeByName: a name with re: must be a regular expression; received "re:("',
  },
  {
    name: 'no device',
    run: () => initialize(new Net(), undefined as unknown as typeof device),
    says: 'initialize: device must be a device, as openDevice gives it; received nothing',
  },
  {
    name: 'a device that there is not',
    run: () => openDevice('gpu' as 'cpu'),
    says: 'openDevice: name must be cpu, native or wasm; received "gpu"',
  },
  {
    name: 'no threads',
    run: () => openDevice('cpu', { threads: 0 }),
    says: 'openDevice: threads must be a whole number, 1 or more; received 0',
  },
  {
    name: 'settings of an optimizer as Python names them',
    run: () => new Adam(net().parameters(), { weight_decay: 0.1 } as object),
    says: 'Adam: unknown option "weight_decay"; did you mean "weightDecay"?',
  },
  {
    name: 'a model in the place of its parameters',
    run: () => new SGD(net() as unknown as Set<Tensor>),
    says: 'SGD: parameters must be a list of parameters, such as model.parameters(), or of groups with params; received a Net',
  },
  {
    name: 'a reduction that there is not',
    run: () => mseLoss(rows(2), rows(2), { reduction: 'avg' as 'mean' }),
    says: 'mseLoss: reduction must be mean, sum or none; received "avg"',
  },
]

const values: Case[] = [
  {
    name: 'nested lists',
    run: () =>
      Tensor.fromNumbers(device, [
        [1, 2, 3],
        [4, 5, 6],
      ] as unknown as number[]),
    says: 'fromNumbers: numbers must be one flat list; received nested ones: give values.flat() and the shape [2,3]',
  },
  {
    name: 'lists nested twice',
    run: () => Tensor.fromNumbers(device, [[[1, 2]], [[3, 4]]] as unknown as number[]),
    says: 'fromNumbers: numbers must be one flat list; received nested ones: give values.flat(2) and the shape [2,1,2]',
  },
  {
    name: 'a value that is no number',
    run: () => Tensor.fromNumbers(device, [1, '2'] as unknown as number[]),
    says: 'fromNumbers: numbers must be numbers; received "2" at 1',
  },
  {
    name: 'a fraction where there are whole numbers',
    run: () => Tensor.fromNumbers(device, [1, 0.5], [2], 'int64'),
    says: 'fromNumbers: numbers must be values of int64; received 0.5 at 1',
  },
  {
    name: 'a number too large for its dtype',
    run: () => Tensor.fromNumbers(device, [300], [1], 'uint8'),
    says: 'fromNumbers: numbers must be values of uint8; received 300 at 0',
  },
  {
    name: 'one size in the place of a shape',
    run: () => Tensor.full(device, 3 as unknown as number[], 1),
    says: 'full: shape must be a list of sizes; received 3',
  },
  {
    name: 'a size that is NaN',
    run: () => Tensor.empty(device, [NaN]),
    says: 'empty: sizes must be whole numbers, 0 or more; received [NaN]',
  },
  {
    name: 'a dtype that there is not',
    run: () => Tensor.empty(device, [1], 'float' as 'float32'),
    says: 'empty: dtype must be one of float32, float16, bfloat16, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, int8, uint8, int32, int64, bool, float8_e8m0fnu; received "float"',
  },
  {
    name: 'a number in the place of a tensor',
    run: () => relu(1 as unknown as Tensor),
    says: 'relu: x must be a tensor; received 1',
  },
  {
    name: 'a tensor in the place of a number',
    run: () => affine(rows(1), rows(1) as unknown as number, 0),
    says: 'affine: scale must be a number; received a Tensor',
  },
  {
    name: 'a scope that waits',
    run: () => scope(async () => rows(1)),
    says: 'scope: body must be synchronous, with what waits outside; received an async function',
  },
]

refuse({ options, values })
