// node examples/mnist/cnn.ts, with the flags of mlp.ts
// A network of two convolutions trained on MNIST, then quantized, calibrated, tuned, frozen and loaded again.
import { CNN } from './models.ts'
import { run } from './workflow.ts'

await run(() => new CNN())
