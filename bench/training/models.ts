import { Random } from '../../src/core/random.ts'
import type { Device } from '../../src/devices/device.ts'
import { ReLU } from '../../src/nn/activations.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { crossEntropyLoss } from '../../src/nn/losses.ts'
import type { Module } from '../../src/nn/module.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { backward } from '../../src/tensor/backward.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

/** A model that can be trained, and the shape of a batch. */
interface Trainable {
  model: Module & { forward(x: Tensor): Tensor }
  shape: readonly number[]
}

/** The models, the same as in peer.py, and how many steps one round takes. */
export const models: Record<string, { make: () => Trainable; steps: number }> = {
  mlp: { make: () => ({ model: perceptron([784, 512, 512, 10]), shape: [128, 784] }), steps: 30 },
}

/** Linear layers of these widths with ReLU between them. */
export function perceptron(widths: readonly number[]): Sequential {
  const layers = widths.slice(1).flatMap((width, i) => [new Linear(widths[i], width), new ReLU()])
  return new Sequential(...layers.slice(0, -1))
}

/** One training step after another on one batch of noise: loss, gradients, a step of SGD with momentum. */
export class Trainer {
  private readonly device: Device
  private readonly model: Trainable['model']
  private readonly optimizer: SGD
  private readonly x: Tensor
  private readonly targets: Tensor

  constructor({ model, shape }: Trainable, device: Device) {
    const random = new Random(1)
    this.device = device
    this.model = initialize(model, device, { seed: 0 }).train()
    this.optimizer = new SGD([...model.parameters()] as Tensor[], { lr: 0.01, momentum: 0.9 })
    const count = shape.reduce((product, size) => product * size, 1)
    this.x = Tensor.fromNumbers(
      device,
      Float32Array.from({ length: count }, () => random.normal()),
      shape,
    )
    this.targets = Tensor.fromArray(
      device,
      Int32Array.from({ length: shape[0] }, () => random.uint32() % 10),
    )
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
