import * as lb from '../src/index.ts'
import { type Call, call, unset } from './optionCall.ts'

/** Calls of the algorithms of calibrated quantization, with all the options that they have. */
export const algorithmCalls: Record<string, Call> = {
  rotate: call((o: lb.RotateOptions) => lb.rotate(o), unset('hadamard', 'seed')),
  autoRound: call((o: lb.AutoRoundOptions) => lb.autoRound(o), {
    ...unset('bits', 'groupSize', 'symmetric', 'iterations', 'lr', 'minmaxLr', 'batchSize', 'seed'),
  }),
  distilScales: call((o: lb.DistilOptions) => lb.distilScales(o), {
    ...unset(
      'bits',
      'groupSize',
      'symmetric',
      'steps',
      'batchTokens',
      'lr',
      'rounding',
      'roundingLr',
      'loss',
    ),
    seed: undefined,
  }),
}
