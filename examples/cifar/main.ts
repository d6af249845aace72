// npm run example cifar/main
//
// A trained ResNet-20: float, then quantized in four ways; the 2-bit one also trained with its quantized
// weights.
import { readFile } from 'node:fs/promises'
import Table from 'cli-table3'
import {
  accuracy,
  calibrate,
  DataLoader,
  freeze,
  memoryFootprint,
  openDevice,
  type QTypeName,
  quantize,
  scope,
  stackImages,
  transforms,
} from 'lowbit'
import { readOptions } from '../options.ts'
import { cifar } from './cifar.ts'
import { drawImages } from './draw.ts'
import { floatResNet20, train } from './training.ts'

const about = `Quantizes a trained ResNet-20 to 8, 4 and 2 bits, with activations of 8, and shows how many test
images each tells apart; the 2-bit one also after training with its quantized weights.

Without options it draws its images (ten shapes, in noise) and trains the network on them first, for
half a minute or so. For CIFAR-10 itself give the files of its binary version, and for a network of
yours its weights.`

const flags = readOptions('cifar/main', about, {
  train: ['drawn', "images to train and calibrate with, such as CIFAR-10's data_batch_1.bin"],
  test: ['drawn', "images to measure with, such as CIFAR-10's test_batch.bin"],
  model: ['trained', 'safetensors with the weights of a trained ResNet-20'],
  images: [2000, 'how many images to draw; a quarter as many test'],
  epochs: [3, 'passes over the images that train the network'],
  calibration: [1000, 'images to calibrate with'],
  tune: [2, 'passes that train the 2-bit network; 0 leaves it out'],
  device: ['cpu', 'what computes', ['cpu', 'native', 'wasm']],
})
const device = openDevice(flags.device)
const collate = stackImages(device, 10)
const augment = transforms.compose(
  transforms.randomCrop(32, { padding: 4 }),
  transforms.randomHorizontalFlip(),
)
const trainBytes = flags.train === 'drawn' ? drawImages(flags.images, 1) : await readFile(flags.train)
const testBytes =
  flags.test === 'drawn' ? drawImages(Math.ceil(flags.images / 4), 2) : await readFile(flags.test)
const training = new DataLoader(cifar(trainBytes, { augment }), { batchSize: 50, shuffle: true, collate })
const calibration = new DataLoader(cifar(trainBytes, { limit: flags.calibration }), {
  batchSize: 100,
  collate,
})
const test = new DataLoader(cifar(testBytes), { batchSize: 100, collate })
const table = new Table({
  head: ['weights', 'activations', 'trained', 'loss', 'accuracy', 'bytes'],
  style: { head: [], border: [] },
})

async function row(weights: QTypeName | 'float', activations: QTypeName | 'float', tune = 0): Promise<void> {
  const model = float.clone()
  if (weights !== 'float' && activations !== 'float') {
    quantize(model, { weights, activations })
    await calibrate(model, async () => {
      for await (const { x } of calibration) scope(() => void model.forward(x))
    })
    if (tune > 0) await train(model, training, tune, 0.01)
    freeze(model)
  }
  const { loss, accuracy: right } = await accuracy(model, test)
  const trained = tune ? `${tune} epochs` : ''
  table.push([
    weights,
    activations,
    trained,
    loss.toFixed(4),
    `${(100 * right).toFixed(1)} %`,
    memoryFootprint(model),
  ])
  model.dispose()
}

const float = await floatResNet20(flags.model, { device, training, epochs: flags.epochs })
await row('float', 'float')
await row('int8', 'int8')
await row('int4', 'int8')
await row('int2', 'int8')
if (flags.tune > 0) await row('int2', 'int8', flags.tune)
await row('float8', 'float8')
console.log(
  `ResNet-20 on ${test.dataset.length} test images, calibrated with ${calibration.dataset.length}, on ${device.name}`,
)
console.log(table.toString())
float.dispose()
await device.close()
