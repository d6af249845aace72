// node examples/cifar/main.ts [--device cpu|native|wasm] [--calibration 1000] [--epochs 1]
// A trained ResNet-20: float, then quantized in four ways; the 2-bit one also trained on the calibration images.
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import {
  accuracy,
  calibrate,
  crossEntropyLoss,
  DataLoader,
  freeze,
  loadStateDict,
  memoryFootprint,
  openDevice,
  type QTypeName,
  quantize,
  readStateDict,
  SGD,
  scope,
  stackImages,
  trainEpoch,
  transforms,
} from 'lowbit'
import { cifar, data, models } from './cifar.ts'
import { ResNet20 } from './resnet20.ts'

const { values: flags } = parseArgs({
  options: {
    device: { type: 'string', default: 'cpu' },
    calibration: { type: 'string', default: '1000' },
    epochs: { type: 'string', default: '2' },
  },
})
const device = openDevice(flags.device as 'cpu' | 'native' | 'wasm')
const collate = stackImages(device, 10)
const calibrationFile = join(data, 'cifar10/calibration-1000.bin')
const limit = Number(flags.calibration)
const test = new DataLoader(await cifar(join(data, 'cifar10/test-200.bin')), { batchSize: 100, collate })
const calibration = new DataLoader(await cifar(calibrationFile, { limit }), { batchSize: 100, collate })
const augment = transforms.compose(transforms.randomCrop(32, { padding: 4 }), transforms.randomHorizontalFlip())
const training = new DataLoader(await cifar(calibrationFile, { limit, augment }), { batchSize: 100, shuffle: true, collate })

const float = new ResNet20()
await loadStateDict(float, await readStateDict(join(models, 'cifar10-resnet20/resnet20.safetensors')), { device })
const table = new Table({ head: ['weights', 'activations', 'trained', 'loss', 'accuracy', 'bytes'], style: { head: [], border: [] } })

async function row(weights: QTypeName | 'float', activations: QTypeName | 'float', epochs = 0): Promise<void> {
  const model = float.clone()
  if (weights !== 'float' && activations !== 'float') {
    quantize(model, { weights, activations })
    await calibrate(model, async () => {
      for await (const { x } of calibration) scope(() => void model.forward(x))
    })
    if (epochs > 0) await tune(model, epochs)
    freeze(model)
  }
  const { loss, accuracy: right } = await accuracy(model, test)
  table.push([
    weights,
    activations,
    epochs ? `${epochs} epochs` : '',
    loss.toFixed(4),
    `${(100 * right).toFixed(1)} %`,
    memoryFootprint(model),
  ])
  model.dispose()
}

/** Trains with the weights quantized anew in every step; batch statistics stay as they are. */
async function tune(model: ResNet20, epochs: number): Promise<void> {
  const optimizer = new SGD(model.parameters(), { lr: 0.01, momentum: 0.9, weightDecay: 1e-4 })
  for (let epoch = 0; epoch < epochs; epoch++) {
    await trainEpoch(model, training, { optimizer, loss: ({ x, y }) => crossEntropyLoss(model.forward(x), y) })
  }
  optimizer.dispose()
}

await row('float', 'float')
await row('int8', 'int8')
await row('int4', 'int8')
await row('int2', 'int8')
if (Number(flags.epochs) > 0) await row('int2', 'int8', Number(flags.epochs))
await row('float8', 'float8')
console.log(`ResNet-20 on ${test.dataset.length} test images, calibrated with ${calibration.dataset.length}, on ${device.name}`)
console.log(table.toString())
float.dispose()
await device.close()
