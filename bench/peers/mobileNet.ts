import { Conv2d } from '../../src/nn/conv2d.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { AdaptiveAvgPool2d } from '../../src/nn/pooling.ts'
import { Flatten, type Layer, Sequential } from '../../src/nn/sequential.ts'
import { add, clamp } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'

/** A convolution, normalization folded into it, and ReLU6. */
class ConvReLU6 extends Module {
  conv: Conv2d

  constructor(inputs: number, outputs: number, kernel: number, stride = 1, groups = 1) {
    super()
    this.conv = new Conv2d(inputs, outputs, kernel, { stride, padding: (kernel - 1) / 2, groups })
  }

  forward(x: Tensor): Tensor {
    return scope(() => clamp(this.conv.forward(x), 0, 6))
  }
}

/** Channels are made more, each is seen by itself, and they are made fewer. */
class InvertedResidual extends Module {
  layers: Sequential
  private readonly adds: boolean

  constructor(inputs: number, outputs: number, stride: number, expansion: number) {
    super()
    const hidden = inputs * expansion
    const expand = expansion > 1 ? [new ConvReLU6(inputs, hidden, 1)] : []
    const depthwise = new ConvReLU6(hidden, hidden, 3, stride, hidden)
    this.layers = new Sequential(...expand, depthwise, new Conv2d(hidden, outputs, 1))
    this.adds = stride === 1 && inputs === outputs
  }

  forward(x: Tensor): Tensor {
    return this.adds ? scope(() => add(x, this.layers.forward(x))) : this.layers.forward(x)
  }
}

/** Expansion, channels, blocks, and the stride of the first; Sandler et al., "MobileNetV2", 2018, table 2. */
const stages = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
]

/** Multiplies and adds of an image, two operations. */
export const mobileNetOperations = 2 * 300.8e6

/** MobileNetV2 for images [batch, 3, 224, 224]; python/mobile_net.py is the same. */
export function mobileNet(): Sequential {
  const layers: Layer[] = [new ConvReLU6(3, 32, 3, 2)]
  let inputs = 32
  for (const [expansion, outputs, blocks, stride] of stages) {
    for (let block = 0; block < blocks; block++, inputs = outputs)
      layers.push(new InvertedResidual(inputs, outputs, block === 0 ? stride : 1, expansion))
  }
  layers.push(new ConvReLU6(inputs, 1280, 1), new AdaptiveAvgPool2d(1), new Flatten(), new Linear(1280, 1000))
  return new Sequential(...layers)
}
