import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cifar } from '../../examples/cifar/cifar.ts'
import { withoutCopies } from '../../examples/cifar/copies.ts'
import { ResNet20 } from '../../examples/cifar/resnet20.ts'
import {
  accuracy,
  type CalibratedAlgorithm,
  DataLoader,
  loadStateDict,
  openDevice,
  quantizeCalibrated,
  readStateDict,
  stackImages,
  type Tensor,
} from '../../src/index.ts'
import { type Asked, bitsPerWeight, cpuSeconds, measureCells } from './cells.ts'
import { recipes } from './recipes.ts'

const shared = join(import.meta.dirname, '../../../shared')
const data = process.env.LOWBIT_DATA ?? join(shared, 'data')
const models = process.env.LOWBIT_MODELS ?? join(shared, 'models')

/** Rotations are of language models. */
const own = recipes.filter(
  ({ name, byLayer, wholeGroups }) => !byLayer && !wholeGroups && !name.includes('rotated'),
)

const activations: CalibratedAlgorithm = { name: 'activations', options: { activations: 'int8' } }

/** The trained ResNet-20 of examples/cifar: how many of 200 test images are told right. At 4 bits inputs are int8. */
export async function measureResnet20(asked: Asked): Promise<void> {
  const device = openDevice('cpu', { threads: 2 })
  const collate = stackImages(device, 10)
  const load = async () => {
    const model = new ResNet20()
    await loadStateDict(model, await readStateDict(join(models, 'cifar10-resnet20/resnet20.safetensors')), {
      device,
    })
    return model
  }
  const [bytes, testBytes] = await Promise.all(
    ['calibration-1000.bin', 'test-200.bin'].map((name) => readFile(join(data, 'cifar10', name))),
  )
  const images = cifar(bytes)
  const kept = withoutCopies(bytes, testBytes)
  console.error(`${images.length - kept.length} near copies of test images are left out`)
  const others = { length: kept.length, get: (i: number) => images.get(kept[i]) }
  const test = new DataLoader(cifar(testBytes), { batchSize: 100, collate })
  const right = async (model: ResNet20) => {
    const { accuracy: share } = await accuracy(model, test)
    return Math.round(share * 200)
  }
  const samples: Tensor[] = []
  for await (const { x } of new DataLoader(others, { batchSize: 32, collate })) samples.push(x.clone())
  await measureCells(asked, {
    ...{ figure: 'right of 200', recipes: own, float: await right(await load()) },
    async measure({ algorithms }, bits) {
      const model = await load()
      const algorithm = [...(await algorithms(bits)), ...(bits === 4 ? [activations] : [])]
      const seconds = await cpuSeconds(() => quantizeCalibrated(model, { algorithm, data: samples }))
      return { bitsPerWeight: bitsPerWeight(model), value: await right(model), seconds }
    },
  })
  await device.close()
}
