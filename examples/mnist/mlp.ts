// node examples/mnist/mlp.ts [--weights int4] [--activations int8|none] [--epochs 3] [--batch-size 128] [--seed 0] [--limit 60000]
// A perceptron 784-512-512-10 trained on MNIST, then quantized, calibrated, tuned, frozen and loaded again.
import { MLP } from './models.ts'
import { run } from './workflow.ts'

await run(() => new MLP())
