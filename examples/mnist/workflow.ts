import { parseArgs } from 'node:util'
import { SingleBar } from 'cli-progress'
import Table from 'cli-table3'
import {
  Adam,
  accuracy,
  CosineAnnealingLR,
  crossEntropyLoss,
  DataLoader,
  type ImageBatch,
  initialize,
  type LabelledImage,
  type Module,
  memoryFootprint,
  openDevice,
  stackImages,
  type Tensor,
  trainEpoch,
} from 'lowbit'
import { mnist } from './mnist.ts'

/** From images [B, 1, 28, 28] to logits [B, 10]. */
type Classifier = Module & { forward(x: Tensor): Tensor }
type Batches = DataLoader<LabelledImage, ImageBatch>

const { values: flags } = parseArgs({
  options: {
    'batch-size': { type: 'string', default: '128' },
    seed: { type: 'string', default: '0' },
    epochs: { type: 'string', default: '3' },
    limit: { type: 'string', default: '60000' },
    device: { type: 'string', default: 'cpu' },
  },
})
const [batchSize, seed, epochs, limit] = [flags['batch-size'], flags.seed, flags.epochs, flags.limit].map(Number)

/** Trains a classifier of MNIST and prints how it does on the test images. */
export async function run(build: () => Classifier): Promise<void> {
  const device = openDevice(flags.device as 'cpu' | 'native' | 'wasm')
  const collate = stackImages(device, 10)
  const images = new DataLoader(await mnist('train', limit), { batchSize, shuffle: true, seed, collate })
  const test = new DataLoader(await mnist('t10k', limit), { batchSize: 1000, collate })
  const table = new Table({ head: ['stage', 'loss', 'accuracy', 'bytes', 'seconds'], style: { head: [], border: [] } })
  const stage = async (name: string, model: Classifier, work: () => Promise<void>) => {
    const start = performance.now()
    await work()
    const seconds = (performance.now() - start) / 1000
    const { loss, accuracy: right } = await accuracy(model, test)
    table.push([name, loss.toFixed(4), `${(100 * right).toFixed(2)} %`, memoryFootprint(model), seconds.toFixed(1)])
  }

  const model = initialize(build(), device, { seed })
  console.log(`${model}\non ${device.name}, ${device.threads} thread(s)`)
  await stage('float', model, () => fit(model, images, epochs, 1e-3))
  console.log(table.toString())
}

/** Adam, its learning rate going down to 0 along a cosine. */
async function fit(model: Classifier, images: Batches, epochs: number, lr: number): Promise<void> {
  const optimizer = new Adam(model.parameters(), { lr })
  const schedule = new CosineAnnealingLR(optimizer, { tMax: epochs * images.length })
  const bar = new SingleBar({ format: 'training [{bar}] {value}/{total} loss {loss}', stream: process.stderr, noTTYOutput: false })
  if (process.stderr.isTTY) bar.start(epochs * images.length, 0, { loss: '-' })
  for (let epoch = 0; epoch < epochs; epoch++) {
    await trainEpoch(model, images, {
      optimizer,
      schedule,
      loss: ({ x, y }) => crossEntropyLoss(model.forward(x), y),
      onProgress: (steps, loss) => bar.update(epoch * images.length + steps, { loss: loss.toFixed(3) }),
    })
  }
  bar.stop()
  optimizer.dispose()
}
