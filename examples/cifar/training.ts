// A float ResNet-20: of a file, or trained here.
import {
  CosineAnnealingLR,
  crossEntropyLoss,
  type DataLoader,
  type Device,
  type ImageBatch,
  initialize,
  type LabelledImage,
  loadStateDict,
  readStateDict,
  SGD,
  trainEpoch,
} from 'lowbit'
import { ResNet20 } from './resnet20.ts'

type Images = DataLoader<LabelledImage, ImageBatch>

/** The network of a safetensors file, or, of `trained`, one that is trained on these images. */
export async function floatResNet20(
  file: string,
  { device, training, epochs }: { device: Device; training: Images; epochs: number },
): Promise<ResNet20> {
  const model = new ResNet20()
  if (file !== 'trained') {
    await loadStateDict(model, await readStateDict(file), { device })
    return model
  }
  initialize(model, device, { seed: 0 })
  console.log(`training a ResNet-20 on ${training.dataset.length} images …`)
  await train(model, training, epochs, 0.05)
  return model
}

/** Weights that are quantized are so anew in every step; the learning rate goes down to 0 along a cosine. */
export async function train(model: ResNet20, training: Images, epochs: number, lr: number): Promise<void> {
  const optimizer = new SGD(model.parameters(), { lr, momentum: 0.9, weightDecay: 1e-4 })
  const schedule = new CosineAnnealingLR(optimizer, { tMax: epochs * training.length })
  for (let epoch = 0; epoch < epochs; epoch++) {
    await trainEpoch(model, training, {
      optimizer,
      schedule,
      loss: ({ x, y }) => crossEntropyLoss(model.forward(x), y),
    })
  }
  optimizer.dispose()
}
