import { Linear, Module, ops, type Tensor } from 'lowbit'

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
