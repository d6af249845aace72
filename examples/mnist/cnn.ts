// npm run example mnist/cnn
import { CNN } from './models.ts'
import { run } from './workflow.ts'

const about =
  'A network of two convolutions trained on MNIST, then quantized, calibrated, tuned, frozen and loaded again.'
await run('mnist/cnn', about, () => new CNN())
