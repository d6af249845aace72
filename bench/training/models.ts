import { Random } from '../../src/core/random.ts'
import type { Device } from '../../src/devices/device.ts'
import { ReLU } from '../../src/nn/activations.ts'
import { BatchNorm2d } from '../../src/nn/batchNorm.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { crossEntropyLoss } from '../../src/nn/losses.ts'
import { Module } from '../../src/nn/module.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { AdaptiveAvgPool2d } from '../../src/nn/pooling.ts'
import { Flatten, type Layer, Sequential } from '../../src/nn/sequential.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { backward } from '../../src/tensor/backward.ts'
import { add, relu } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

/** A model that can be trained, and the shape of a batch. */
interface Trainable {
  model: Module & { forward(x: Tensor): Tensor }
  shape: readonly number[]
}

/** What is trained, the same as in peer.py, and how many steps one round takes. */
export interface Training {
  make: () => Trainable
  steps: number
  /** What weights and activations are quantized to; absent: trained as float. */
  types?: QuantizeOptions
}

const mlp = { make: () => ({ model: perceptron([784, 512, 512, 10]), shape: [128, 784] }), steps: 10 }

const resnet = { make: () => ({ model: resnet18(), shape: [64, 3, 32, 32] }), steps: 1 }

/** By the names that peer.py knows them by: MODEL or MODEL-WEIGHTS-ACTIVATIONS. */
export const trainings: Record<string, Training> = {
  mlp,
  'mlp-int8-int8': { ...mlp, types: { weights: 'int8', activations: 'int8' } },
  'mlp-int4-int8': { ...mlp, types: { weights: 'int4', activations: 'int8' } },
  'mlp-int8-none': { ...mlp, types: { weights: 'int8' } },
  resnet18: resnet,
  'resnet18-int8-int8': { ...resnet, types: { weights: 'int8', activations: 'int8' } },
}

/** Linear layers of these widths with ReLU between them. */
export function perceptron(widths: readonly number[]): Sequential {
  const layers = widths.slice(1).flatMap((width, i) => [new Linear(widths[i], width), new ReLU()])
  return new Sequential(...layers.slice(0, -1))
}

/** Two convolutions, and their input added to what they give: as it is, or brought to its shape. */
class Block extends Module {
  conv1: Conv2d
  bn1: BatchNorm2d
  conv2: Conv2d
  bn2: BatchNorm2d
  shortcut: Sequential

  constructor(inputs: number, outputs: number, stride: number) {
    super()
    this.conv1 = new Conv2d(inputs, outputs, 3, { stride, padding: 1, bias: false })
    this.bn1 = new BatchNorm2d(outputs)
    this.conv2 = new Conv2d(outputs, outputs, 3, { padding: 1, bias: false })
    this.bn2 = new BatchNorm2d(outputs)
    const same = stride === 1 && inputs === outputs
    this.shortcut = new Sequential(
      ...(same ? [] : [new Conv2d(inputs, outputs, 1, { stride, bias: false }), new BatchNorm2d(outputs)]),
    )
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const first = relu(this.bn1.forward(this.conv1.forward(x)))
      return relu(add(this.bn2.forward(this.conv2.forward(first)), this.shortcut.forward(x)))
    })
  }
}

/** ResNet-18 as it is for images of 32 × 32. */
function resnet18(): Sequential {
  const layers: Layer[] = [new Conv2d(3, 64, 3, { padding: 1, bias: false }), new BatchNorm2d(64), new ReLU()]
  let inputs = 64
  for (const [outputs, stride] of [
    [64, 1],
    [128, 2],
    [256, 2],
    [512, 2],
  ]) {
    layers.push(new Block(inputs, outputs, stride), new Block(outputs, outputs, 1))
    inputs = outputs
  }
  return new Sequential(...layers, new AdaptiveAvgPool2d(1), new Flatten(), new Linear(512, 10))
}

/** One training step after another on one batch of noise: loss, gradients, a step of SGD with momentum. */
export class Trainer {
  private readonly device: Device
  private readonly model: Trainable['model']
  private readonly optimizer: SGD
  private readonly x: Tensor
  private readonly targets: Tensor

  private constructor(model: Trainable['model'], x: Tensor, targets: Tensor) {
    this.device = x.device
    this.model = model
    this.optimizer = new SGD(model.parameters(), { lr: 0.01, momentum: 0.9 })
    this.x = x
    this.targets = targets
  }

  /** Quantized activations are calibrated on the batch. */
  static async create({ make, types }: Training, device: Device): Promise<Trainer> {
    const { model, shape } = make()
    const random = new Random(1)
    initialize(model, device, { seed: 0 })
    const count = shape.reduce((product, size) => product * size, 1)
    const values = Float32Array.from({ length: count }, () => random.normal())
    const x = Tensor.fromNumbers(device, values, shape)
    const targets = Tensor.fromArray(
      device,
      Int32Array.from({ length: shape[0] }, () => random.uint32() % 10),
    )
    if (types) quantize(model, types)
    if (types?.activations) await calibrate(model, () => scope(() => void model.forward(x)))
    return new Trainer(model.train(), x, targets)
  }

  /** @returns the loss, to be disposed */
  step(): Tensor {
    this.optimizer.zeroGrad()
    const loss = backward(() => crossEntropyLoss(this.model.forward(this.x), this.targets))
    scope(() => this.optimizer.step())
    this.device.flush()
    return loss
  }

  dispose(): void {
    this.optimizer.zeroGrad()
    this.optimizer.dispose()
    this.model.dispose()
    this.x.dispose()
    this.targets.dispose()
  }
}
