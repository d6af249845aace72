import { Conv2d, Linear, Module, ops, type Tensor } from 'lowbit'

/** A perceptron, 784-512-512-10. */
export class MLP extends Module {
  fc1 = new Linear(784, 512)
  fc2 = new Linear(512, 512)
  fc3 = new Linear(512, 10)

  /** x [B, 1, 28, 28] → logits [B, 10] */
  forward(x: Tensor): Tensor {
    const hidden = ops.relu(this.fc1.forward(x.view([x.size(0), 784])))
    return this.fc3.forward(ops.relu(this.fc2.forward(hidden)))
  }
}

/** Two convolutions and two linear layers; what is left after each pooling is half as wide. */
export class CNN extends Module {
  conv1 = new Conv2d(1, 32, 3, { padding: 1 })
  conv2 = new Conv2d(32, 64, 3, { padding: 1 })
  fc1 = new Linear(64 * 7 * 7, 128)
  fc2 = new Linear(128, 10)

  /** x [B, 1, 28, 28] → logits [B, 10] */
  forward(x: Tensor): Tensor {
    const wide = ops.maxPool2d(ops.relu(this.conv1.forward(x)), 2)
    const deep = ops.maxPool2d(ops.relu(this.conv2.forward(wide)), 2)
    return this.fc2.forward(ops.relu(this.fc1.forward(ops.flatten(deep, 1))))
  }
}
