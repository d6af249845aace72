// ResNet-20 for CIFAR-10: a convolution, nine blocks of two, the shortcut without weights ("option A").
// Source: He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2.
import { BatchNorm2d, Conv2d, Linear, Module, ops, Sequential, Tensor } from 'lowbit'

const conv3x3 = (inputs: number, planes: number, stride = 1) =>
  new Conv2d(inputs, planes, 3, { stride, padding: 1, bias: false })

class BasicBlock extends Module {
  conv1: Module & { forward(x: Tensor): Tensor }
  bn1: BatchNorm2d
  conv2: Module & { forward(x: Tensor): Tensor }
  bn2: BatchNorm2d
  private readonly stride: number
  private readonly padChannels: number

  constructor(inputs: number, planes: number, stride: number) {
    super()
    this.conv1 = conv3x3(inputs, planes, stride)
    this.bn1 = new BatchNorm2d(planes)
    this.conv2 = conv3x3(planes, planes)
    this.bn2 = new BatchNorm2d(planes)
    this.stride = stride
    this.padChannels = (planes - inputs) / 2
  }

  forward(x: Tensor): Tensor {
    const y = ops.relu(this.bn1.forward(this.conv1.forward(x)))
    return ops.relu(ops.add(this.bn2.forward(this.conv2.forward(y)), this.shortcut(x)))
  }

  /** Every second pixel, and channels of zeros on both sides. */
  private shortcut(x: Tensor): Tensor {
    if (this.stride === 1) return x
    const [B, , H, W] = x.shape
    const half = ops.slice(ops.slice(x, 2, 0, H, 2), 3, 0, W, 2)
    const zeros = Tensor.full(x.device, [B, this.padChannels, half.size(2), half.size(3)], 0)
    return ops.concat([zeros, half, zeros], 1)
  }
}

/** Three blocks, the first with the stride. */
const stage = (inputs: number, planes: number, stride: number) =>
  new Sequential(
    new BasicBlock(inputs, planes, stride),
    new BasicBlock(planes, planes, 1),
    new BasicBlock(planes, planes, 1),
  )

export class ResNet20 extends Module {
  conv1: Module & { forward(x: Tensor): Tensor } = conv3x3(3, 16)
  bn1 = new BatchNorm2d(16)
  layer1 = stage(16, 16, 1)
  layer2 = stage(16, 32, 2)
  layer3 = stage(32, 64, 2)
  linear: Module & { forward(x: Tensor): Tensor } = new Linear(64, 10)

  /** x [B, 3, 32, 32] → logits [B, 10] */
  forward(x: Tensor): Tensor {
    const y = ops.relu(this.bn1.forward(this.conv1.forward(x)))
    const features = this.layer3.forward(this.layer2.forward(this.layer1.forward(y)))
    return this.linear.forward(ops.flatten(ops.avgPool2d(features, features.size(3)), 1))
  }
}
