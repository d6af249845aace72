import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { mnist } from '../../examples/mnist/mnist.ts'
import { CNN } from '../../examples/mnist/models.ts'
import { openDevice } from '../../src/devices/open.ts'
import { accuracy } from '../../src/evaluate/accuracy.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { stackImages } from '../../src/nn/data/image.ts'
import { DataLoader } from '../../src/nn/data/loader.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { missing, mnistFolder, models } from './data.ts'

const folder = join(models, 'mnist-cnn')

test('a network that PyTorch trained tells 99.20 % of the test images apart', {
  skip: missing(folder, mnistFolder),
}, async () => {
  const device = openDevice('cpu', { threads: 2 })
  const model = new CNN()
  const file = await openSafetensors(await diskFolder(folder).open('model.safetensors'))
  for (const { name, shape } of file.tensors.values()) {
    model.setParameter(name, Tensor.fromBytes(device, await file.read(name), shape, 'float32'))
  }
  await file.close()
  const images = new DataLoader(await mnist(mnistFolder, 't10k'), {
    batchSize: 500,
    collate: stackImages(device, 10),
  })
  const result = await accuracy(model, images)
  assert.equal(result.samples, 10000)
  assert.equal(result.accuracy, 0.992)
  await device.close()
})
