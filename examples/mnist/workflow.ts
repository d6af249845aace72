import { parseArgs } from 'node:util'
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
  type QTypeName,
  quantizationMap,
  quantize,
  requantize,
  scope,
  stackImages,
  stateDict,
  type Tensor,
  trainEpoch,
} from 'lowbit'
import { mnist } from './mnist.ts'

/** From images [B, 1, 28, 28] to logits [B, 10]. */
type Classifier = Module & { forward(x: Tensor): Tensor }
type Batches = DataLoader<LabelledImage, ImageBatch>

const { values: flags } = parseArgs({
  options: {
    weights: { type: 'string', default: 'int4' },
    activations: { type: 'string', default: 'int8' },
    epochs: { type: 'string', default: '3' },
    'batch-size': { type: 'string', default: '128' },
    seed: { type: 'string', default: '0' },
    limit: { type: 'string', default: '60000' },
    device: { type: 'string', default: 'cpu' },
  },
})
const [batchSize, seed, epochs, limit] = [flags['batch-size'], flags.seed, flags.epochs, flags.limit].map(Number)
const weights = flags.weights as QTypeName
const activations = flags.activations === 'none' ? undefined : (flags.activations as QTypeName)

/** Trains a classifier of MNIST in float, quantizes it, and prints after every stage how it does on the test images. */
export async function run(build: () => Classifier): Promise<void> {
  const device = openDevice(flags.device as 'cpu' | 'native' | 'wasm')
  const collate = stackImages(device, 10)
  const images = new DataLoader(await mnist('train', limit), { batchSize, shuffle: true, seed, collate })
  const test = new DataLoader(await mnist('t10k', limit), { batchSize: 1000, collate })
  const model = initialize(build(), device, { seed })
  console.log(`${model}\n${flags.weights} weights, ${flags.activations} activations, on ${device.name}, ${device.threads} thread(s)`)

  const head = ['stage', 'loss', 'accuracy', 'bytes', `ms for ${batchSize} images`]
  const chars = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' }
  const table = new Table({ head, chars, style: { head: [], border: [] } })
  const stage = async (name: string, work: () => unknown, of = model) => {
    await work()
    const { loss, accuracy: right } = await accuracy(of, test)
    table.push([name, loss.toFixed(4), `${(100 * right).toFixed(2)} %`, memoryFootprint(of), (await forwardMs(of, images)).toFixed(2)])
  }
  await stage('float', () => fit(model, images, epochs, 1e-3))
  await stage('quantized', () => quantize(model, { weights, activations }))
  if (activations) await stage('calibrated', () => calibrate(model, () => passes(model, images, 10)))
  await stage('tuned', () => fit(model, images, 1, 5e-4))
  await stage('frozen', () => freeze(model))
  const reloaded = build()
  await stage('reloaded', async () => requantize(reloaded, await stateDict(model), quantizationMap(model), { device }), reloaded)
  console.log(`${table}`)
  await device.close()
}

/** Adam, its learning rate going down to 0 along a cosine. */
async function fit(model: Classifier, images: Batches, epochs: number, lr: number): Promise<void> {
  const optimizer = new Adam(model.parameters(), { lr })
  const steps = epochs * images.length
  const schedule = new CosineAnnealingLR(optimizer, { tMax: steps })
  const bar = new SingleBar({ format: 'training [{bar}] {value}/{total} loss {loss}', stream: process.stderr })
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
