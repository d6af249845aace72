// npm run example mnist/mlp
import { MLP } from './models.ts'
import { run } from './workflow.ts'

const about =
  'A perceptron 784-512-512-10 trained on MNIST, then quantized, calibrated, tuned, frozen and loaded again.'
await run('mnist/mlp', about, () => new MLP())
