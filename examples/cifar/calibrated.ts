// npm run example cifar/calibrated
//
// A trained ResNet-20 in few bits by calibration alone: rounded, by GPTQ, and with its rounding trained against
// the float network's outputs. No label is looked at, and no weight is trained as a float.
import { readFile } from 'node:fs/promises'
import Table from 'cli-table3'
import {
  accuracy,
  type CalibratedAlgorithm,
  DataLoader,
  distilScales,
  gptq,
  memoryFootprint,
  openDevice,
  quantizeCalibrated,
  stackImages,
  type Tensor,
} from 'lowbit'
import { readOptions } from '../options.ts'
import { cifar, imageBytes } from './cifar.ts'
import { withoutCopies } from './copies.ts'
import { drawImages } from './draw.ts'
import { floatResNet20 } from './training.ts'

const about = `Quantizes a trained ResNet-20 to 4, 3 and 2 bits with calibration alone, and shows how many test images
each network tells apart: rounded, by GPTQ, and with its rounding trained for some steps against the float
network. w4a8 has activations of 8 bits, too. Images that are near copies of a test image are left out.

Without options it draws its images (ten shapes, in noise) and trains the network on them first; all of
it takes some minutes, without training the rounding one. For CIFAR-10 itself give the files of its binary version, and for a network of
yours its weights.`

const flags = readOptions('cifar/calibrated', about, {
  train: ['drawn', "images to train and calibrate with, such as CIFAR-10's data_batch_1.bin"],
  test: ['drawn', "images to measure with, such as CIFAR-10's test_batch.bin"],
  model: ['trained', 'safetensors with the weights of a trained ResNet-20'],
  images: [2000, 'how many images to draw; a quarter as many test'],
  epochs: [3, 'passes over the images that train the network'],
  calibration: [1000, 'images to calibrate with'],
  steps: [100, 'that train the rounding; 0 leaves that out'],
})
const device = openDevice()
const collate = stackImages(device, 10)
const trainBytes = flags.train === 'drawn' ? drawImages(flags.images, 1) : await readFile(flags.train)
const testBytes =
  flags.test === 'drawn' ? drawImages(Math.ceil(flags.images / 4), 2) : await readFile(flags.test)
const images = cifar(trainBytes)
const test = new DataLoader(cifar(testBytes), { batchSize: 100, collate })
const training = new DataLoader(images, { batchSize: 50, shuffle: true, collate })

/** Batches of images that are no copies of a test image: what passes through the network. */
async function calibrationBatches(): Promise<Tensor[]> {
  const first = trainBytes.subarray(0, flags.calibration * imageBytes)
  const kept = withoutCopies(first, testBytes)
  console.log(`calibrating with ${kept.length} images that are no near copies of test images`)
  const dataset = { length: kept.length, get: (i: number) => images.get(kept[i]) }
  const batches: Tensor[] = []
  for await (const { x } of new DataLoader(dataset, { batchSize: 32, collate })) batches.push(x.clone())
  return batches
}

/** What is tried at so many bits: groups of 32 weights share a scale and a zero point. */
function algorithms(bits: number, activations?: 'int8'): [name: string, list: CalibratedAlgorithm[]][] {
  const weights = { bits, groupSize: 32, symmetric: false }
  const solved = gptq({ ...weights, actOrder: 'static', scaleSearch: true })
  const rounded: CalibratedAlgorithm = { name: 'rounded', options: solved.options }
  const inputs: CalibratedAlgorithm[] = activations ? [{ name: 'inputs', options: { activations } }] : []
  const tried: [string, CalibratedAlgorithm[]][] = [
    ['rounded', [rounded, ...inputs]],
    ['GPTQ', [solved, ...inputs]],
  ]
  if (flags.steps === 0) return tried
  const trained = distilScales({ rounding: true, steps: flags.steps })
  return [...tried, ['GPTQ, rounding trained', [solved, ...inputs, trained]]]
}

const float = await floatResNet20(flags.model, { device, training, epochs: flags.epochs })
const batches = await calibrationBatches()
const right = async (model: typeof float) => `${(100 * (await accuracy(model, test)).accuracy).toFixed(1)} %`
const settings = { w4a8: algorithms(4, 'int8'), w3: algorithms(3), w2: algorithms(2) }
const head = ['', 'bytes', ...settings.w2.map(([name]) => name)]
const table = new Table({ head, style: { head: [], border: [] } })
table.push(['float', memoryFootprint(float), await right(float)])
for (const [name, tried] of Object.entries(settings)) {
  const cells: string[] = []
  let bytes = 0
  for (const [, algorithm] of tried) {
    const model = float.clone()
    await quantizeCalibrated(model, { algorithm, data: batches })
    cells.push(await right(model))
    bytes = memoryFootprint(model)
    model.dispose()
  }
  table.push([name, bytes, ...cells])
}
console.log(`ResNet-20 on ${test.dataset.length} test images, on ${device.name}`)
console.log(table.toString())
float.dispose()
await device.close()
