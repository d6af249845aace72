import { accuracy } from '../../src/evaluate/accuracy.ts'
import { BatchNorm1d, BatchNorm2d } from '../../src/nn/batchNorm.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import { ConvTranspose2d } from '../../src/nn/convTranspose.ts'
import { stackImages } from '../../src/nn/data/image.ts'
import { DataLoader } from '../../src/nn/data/loader.ts'
import { Embedding } from '../../src/nn/embedding.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { crossEntropyLoss, mseLoss, nllLoss } from '../../src/nn/losses.ts'
import { MultiheadAttention } from '../../src/nn/multiheadAttention.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { clipGradNorm } from '../../src/nn/optim/clip.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { type TrainOptions, trainEpoch } from '../../src/nn/training.ts'
import { freeze } from '../../src/quantize/quantize.ts'
import { logSoftmax } from '../../src/tensor/ops/index.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'
import { type Case, device, labels, Net, net, numbers, quantized, refuse, rows } from './refused.ts'

/*
 * Whatever is wrong with what is trained, or how layers are made: one sentence that says what, where, and
 * what was expected.
 */

const good = [0, 1, 2, 3]

/** One pass of batches of four rows, with these labels. */
function train(
  targets: readonly number[][],
  options: Partial<TrainOptions<Tensor>> = {},
  x = rows(4),
): Promise<Float64Array> {
  const model = net()
  const batches = targets.map((values) => labels(...values))
  const loss = (y: Tensor) => crossEntropyLoss(model.forward(x), y)
  return trainEpoch(model, batches, { optimizer: new SGD(model.parameters(), { lr: 0.1 }), loss, ...options })
}

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
    run: () => train([good, [0, 1, 12, 3]]),
    says: 'trainEpoch: loss and gradients must be finite; the loss of step 2 is NaN: targets of crossEntropyLoss must lie in 0..9 or be -100; received 12 at 2',
  },
  {
    name: 'a label out of range, when a batch is made',
    run: () =>
      stackImages(
        device,
        10,
      )(
        [3, 10].map((label) => ({
          image: { data: new Float32Array(4), channels: 1, height: 2, width: 2 },
          label,
        })),
      ),
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
        [good],
        {},
        rows(4, (i) => (i === 200 ? NaN : 1)),
      ),
    says: 'trainEpoch: loss and gradients must be finite; the loss of step 1 is NaN: detectAnomaly tells which layer was first',
  },
  {
    name: 'a NaN loss, looked into',
    run: () =>
      train(
        [good],
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
      return trainEpoch(model, [labels(...good)], { optimizer: new SGD(model.parameters()), loss })
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
    says: 'SGD: parameters must have memory (initialize or load the model first); received Tensor float32 [32,64] without memory',
  },
  {
    name: 'frozen parameters',
    run: () => {
      const model = quantized({ weights: 'int8' })
      freeze(model)
      return new Adam(model.parameters())
    },
    says: `Adam: a frozen weight cannot be trained; received QTensor qint8 [32,64], one scale a row, 8.5 bits per weight on ${device.name}`,
  },
  {
    name: 'a negative learning rate',
    run: () => new Adam(net().parameters(), { lr: -1e-3 }),
    says: 'Adam: lr must be a number, 0 or more; received -0.001',
  },
  {
    name: 'a learning rate that a schedule made NaN',
    run: () => {
      const model = net()
      const optimizer = new SGD(model.parameters(), { lr: 0.1 })
      optimizer.paramGroups[0].lr = NaN
      return train([good], { optimizer })
    },
    says: 'SGD: lr must be a number, 0 or more; received NaN',
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
    says: 'linear: columns of x (63) must equal columns of w (64); x [2,63], w [32,64] float32',
  },
  {
    name: 'columns that do not fit, quantized',
    run: () => {
      const model = quantized({ weights: 'int4' })
      freeze(model)
      return model.forward(numbers([2, 63]))
    },
    says: 'linear: columns of x (63) must equal columns of w (64); x [2,63], w [32,64] qint4',
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
    says: 'Conv2d: stride must be a whole number, 1 or more, or a list of 2; received 0',
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
  {
    name: 'a layer of no size',
    run: () => new Linear(0.5, 3),
    says: 'Linear: inFeatures must be a whole number, 0 or more; received 0.5',
  },
]

refuse({ training, layers })
