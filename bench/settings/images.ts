import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cifar } from '../../examples/cifar/cifar.ts'
import { ResNet20 } from '../../examples/cifar/resnet20.ts'
import { mnist } from '../../examples/mnist/mnist.ts'
import { MLP } from '../../examples/mnist/models.ts'
import {
  Adam,
  accuracy,
  CosineAnnealingLR,
  calibrate,
  crossEntropyLoss,
  DataLoader,
  freeze,
  type ImageBatch,
  initialize,
  type LabelledImage,
  loadStateDict,
  type Module,
  memoryFootprint,
  openDevice,
  type QTypeName,
  quantize,
  readStateDict,
  SGD,
  scope,
  stackImages,
  type Tensor,
  trainEpoch,
} from '../../src/index.ts'
import { type Measures, megabytes, mostPerSecond, type Row } from './row.ts'

/** Folders with `mnist/` and `cifar10/`, and with trained models. */
const shared = join(import.meta.dirname, '../../../shared')
const data = process.env.LOWBIT_DATA ?? join(shared, 'data')
const models = process.env.LOWBIT_MODELS ?? join(shared, 'models')

type Classifier = Module & { forward(x: Tensor): Tensor }
type Batches = DataLoader<LabelledImage, ImageBatch>

/** A trained classifier, and how it is tuned after it was quantized. */
interface Subject {
  float: Classifier
  calibration: Batches
  test: Batches
  tune: (model: Classifier) => Promise<void>
}

const settings: [weights: QTypeName, activations: QTypeName | undefined, tuned: boolean][] = [
  ['int8', undefined, false],
  ['int8', 'int8', false],
  ['float8', 'float8', false],
  ['int4', undefined, false],
  ['int4', 'int8', false],
  ['int2', 'int8', false],
  ['int2', 'int8', true],
]

/** The trained ResNet-20 of examples/cifar; the tuning is two epochs on the calibration images. */
export async function resnet20Rows(measures: Measures): Promise<Row[]> {
  const device = openDevice('cpu', { threads: 1 })
  const collate = stackImages(device, 10)
  const float = new ResNet20()
  await loadStateDict(float, await readStateDict(join(models, 'cifar10-resnet20/resnet20.safetensors')), {
    device,
  })
  const images = cifar(await readFile(join(data, 'cifar10/calibration-1000.bin')))
  const training = new DataLoader(images, { batchSize: 100, shuffle: true, collate })
  return rowsOf(measures, {
    float,
    calibration: new DataLoader(images, { batchSize: 100, collate }),
    test: new DataLoader(cifar(await readFile(join(data, 'cifar10/test-200.bin'))), {
      batchSize: 100,
      collate,
    }),
    tune: (model) =>
      fit(model, training, new SGD(model.parameters(), { lr: 0.01, momentum: 0.9, weightDecay: 1e-4 }), 2),
  })
}

/** The perceptron of examples/mnist, trained here for three epochs; the tuning is one more. */
export async function mnistRows(measures: Measures): Promise<Row[]> {
  const device = openDevice('cpu', { threads: 1 })
  const collate = stackImages(device, 10)
  const images = await mnist(join(data, 'mnist'), 'train')
  const training = new DataLoader(images, { batchSize: 128, shuffle: true, collate })
  const float = initialize(new MLP(), device, { seed: 0 })
  const train = async (model: Classifier, epochs: number, lr: number) =>
    fit(model, training, new Adam(model.parameters(), { lr }), epochs)
  await train(float, 3, 1e-3)
  return rowsOf(measures, {
    float,
    calibration: new DataLoader({ length: 1280, get: (i) => images.get(i) }, { batchSize: 128, collate }),
    test: new DataLoader(await mnist(join(data, 'mnist'), 't10k'), { batchSize: 1000, collate }),
    tune: (model) => train(model, 1, 5e-4),
  })
}

/** The optimizer's learning rate goes down to 0 along a cosine. */
async function fit(
  model: Classifier,
  batches: Batches,
  optimizer: SGD | Adam,
  epochs: number,
): Promise<void> {
  const schedule = new CosineAnnealingLR(optimizer, { tMax: epochs * batches.length })
  for (let epoch = 0; epoch < epochs; epoch++)
    await trainEpoch(model, batches, {
      optimizer,
      schedule,
      loss: ({ x, y }) => crossEntropyLoss(model.forward(x), y),
    })
  optimizer.dispose()
}

async function rowsOf(measures: Measures, subject: Subject): Promise<Row[]> {
  const rows = [await rowOf('float32', subject.float, measures, subject.test)]
  for (const [weights, activations, tuned] of settings) {
    const model = subject.float.clone()
    quantize(model, { weights, activations })
    if (activations) {
      await calibrate(model, async () => {
        for await (const { x } of subject.calibration) scope(() => void model.forward(x))
      })
    }
    if (tuned) await subject.tune(model)
    freeze(model)
    const name = [weights, activations && `activations ${activations}`, tuned && 'tuned']
      .filter(Boolean)
      .join(', ')
    rows.push(await rowOf(name, model, measures, subject.test))
    model.dispose()
  }
  return rows
}

async function rowOf(setting: string, model: Classifier, measures: Measures, test: Batches): Promise<Row> {
  const { accuracy: right, loss } = measures.quality ? await accuracy(model, test) : { accuracy: 0, loss: 0 }
  const row = {
    setting,
    MB: megabytes(memoryFootprint(model)),
    accuracy: measures.quality ? `${(100 * right).toFixed(1)} %` : '',
    loss: measures.quality ? loss.toFixed(4) : '',
    'images/s': measures.speed ? await imagesPerSecond(model, test) : '',
  }
  console.error(Object.values(row).join('  '))
  return row
}

/** Of whole batches. */
async function imagesPerSecond(model: Classifier, test: Batches): Promise<string> {
  for await (const { x } of test) {
    return await mostPerSecond(async () => {
      scope(() => void model.forward(x))
      await x.device.sync()
      return x.size(0)
    })
  }
  return ''
}
