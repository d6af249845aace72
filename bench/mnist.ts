// node --conditions=lowbit-source bench/mnist.ts [--json]
//
// The perceptron of examples/mnist here and with PyTorch and optimum-quanto (scripts/mnist_quanto.py), from
// the same initial weights and the same batches: losses, accuracies and seconds of both. LOWBIT_PYTHON names
// the interpreter, LOWBIT_DATA the folder with mnist/.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mnist } from '../examples/mnist/mnist.ts'
import { MLP } from '../examples/mnist/models.ts'
import { Random } from '../src/core/random.ts'
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
  openDevice,
  quantize,
  scope,
  stackImages,
  type Tensor,
  trainEpoch,
} from '../src/index.ts'
import { permutation } from '../src/nn/data/loader.ts'
import { findPython } from '../test/interop/python.ts'

const types = [
  ['int8', 'int8'],
  ['int4', 'int8'],
  ['int2', 'none'],
] as const
const run = { threads: 2, batchSize: 128, epochs: 3, lr: 1e-3, tuneLr: 5e-4, calibrationBatches: 10, types }

interface Row {
  weights: string
  activations: string
  stage: string
  loss: number
  accuracy: number
  seconds: number | null
}

const data = process.env.LOWBIT_DATA ?? join(import.meta.dirname, '../../shared/data')
const device = openDevice('cpu', { threads: run.threads })
const collate = stackImages(device, 10)
const images = await mnist(join(data, 'mnist'), 'train')
const test = new DataLoader(await mnist(join(data, 'mnist'), 't10k'), { batchSize: 1000, collate })
const random = new Random(0)
const orders = Array.from({ length: run.epochs + 1 }, () => permutation(images.length, random))

/** The batches of one epoch, in the order that Python takes them. */
function batches(epoch: number): DataLoader<LabelledImage, ImageBatch> {
  const get = (index: number) => images.get(orders[epoch][index])
  return new DataLoader({ length: images.length, get }, { batchSize: run.batchSize, collate })
}

async function train(model: MLP, epochs: readonly number[], lr: number): Promise<number[]> {
  const optimizer = new Adam(model.parameters(), { lr })
  const schedule = new CosineAnnealingLR(optimizer, {
    tMax: epochs.length * Math.ceil(images.length / run.batchSize),
  })
  const losses: number[] = []
  for (const epoch of epochs) {
    const loss = ({ x, y }: ImageBatch) => crossEntropyLoss(model.forward(x), y)
    losses.push(...(await trainEpoch(model, batches(epoch), { optimizer, schedule, loss })))
  }
  optimizer.dispose()
  return losses
}

async function ours(model: MLP): Promise<{ losses: number[]; rows: Row[] }> {
  const rows: Row[] = []
  const stage = async (
    name: string,
    of: MLP,
    [weights, activations]: readonly [string, string],
    seconds: number | null = null,
  ) => {
    const { loss, accuracy: right } = await accuracy(of, test)
    rows.push({ weights, activations, stage: name, loss, accuracy: right, seconds })
  }
  const start = performance.now()
  const losses = await train(model, [...Array(run.epochs).keys()], run.lr)
  await stage('float', model, ['float', 'float'], (performance.now() - start) / 1000)
  for (const pair of types) {
    const [weights, activations] = pair
    const quantized = model.clone()
    quantize(quantized, { weights, ...(activations === 'none' ? {} : { activations }) })
    await stage('quantized', quantized, pair)
    if (activations !== 'none') {
      quantized.eval()
      await calibrate(quantized, async () => {
        let left = run.calibrationBatches
        for await (const { x } of batches(0)) {
          scope(() => void quantized.forward(x))
          if (--left === 0) break
        }
      })
      await stage('calibrated', quantized, pair)
    }
    const from = performance.now()
    await train(quantized, [run.epochs], run.tuneLr)
    await stage('tuned', quantized, pair, (performance.now() - from) / 1000)
    freeze(quantized)
    await stage('frozen', quantized, pair)
    quantized.dispose()
  }
  return { losses: losses.slice(0, 50), rows }
}

/** Writes what Python starts from and runs it. */
async function python(model: Module): Promise<{ losses: number[]; rows: Row[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-mnist-'))
  try {
    const weights: Buffer[] = []
    for (const [, parameter] of model.namedParameters())
      weights.push(Buffer.from(await (parameter as Tensor).readBytes()))
    writeFileSync(join(folder, 'weights.bin'), Buffer.concat(weights))
    writeFileSync(join(folder, 'order.bin'), Buffer.concat(orders.map((order) => Buffer.from(order.buffer))))
    writeFileSync(join(folder, 'run.json'), JSON.stringify(run))
    const script = join(import.meta.dirname, '../scripts/mnist_quanto.py')
    const { stdout, status } = spawnSync(await findPython(), [script, folder, data], {
      stdio: ['ignore', 'pipe', 'inherit'],
      maxBuffer: 2 ** 24,
    })
    if (status !== 0) throw new Error(`${script} failed with ${status}`)
    return JSON.parse(String(stdout))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const model = initialize(new MLP(), device, { seed: 0 })
const theirs = await python(model)
const here = await ours(model)
const lossErrors = here.losses.map((loss, step) => Math.abs(loss / theirs.losses[step] - 1))
const rows = here.rows.map((row, i) => ({ ...row, python: theirs.rows[i] }))
if (process.argv.includes('--json'))
  console.log(JSON.stringify({ device: device.name, lossErrors, rows }, null, 1))
else {
  console.log(
    `${device.name}, ${device.threads} threads; losses of the first 50 steps differ by at most ${Math.max(...lossErrors).toExponential(1)}`,
  )
  console.table(
    rows.map(({ weights, activations, stage, loss, accuracy: right, seconds, python: other }) => ({
      weights,
      activations,
      stage,
      loss: loss.toFixed(4),
      'quanto loss': other.loss.toFixed(4),
      accuracy: (100 * right).toFixed(2),
      'quanto accuracy': (100 * other.accuracy).toFixed(2),
      seconds: seconds?.toFixed(1),
      'quanto seconds': other.seconds?.toFixed(1),
    })),
  )
}
await device.close()
