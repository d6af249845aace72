import * as lb from '../src/index.ts'
import { type Call, call, unset } from './optionCall.ts'

const gptq = unset('actOrder', 'dampPercent', 'blockSize', 'scaleSearch')
const stored = unset('bits', 'groupSize', 'symmetric', 'scaleDtype', 'trueSequential')

/** Calls of the algorithms of calibrated quantization, with all the options that they have. */
export const algorithmCalls: Record<string, Call> = {
  awq: call(
    (o: lb.AwqOptions) => lb.awq(o),
    unset(
      ...(['bits', 'groupSize', 'symmetric', 'scaleDtype', 'grid', 'duoScaling', 'clip'] as const),
      ...(['searchTokens', 'mappings'] as const),
    ),
  ),
  smoothQuant: call(
    (o: lb.SmoothQuantOptions) => lb.smoothQuant(o),
    unset('alpha', 'activations', 'mappings'),
  ),
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
      'timeLimit',
      'maxOutputBytes',
      'batchTokens',
      'lr',
      'rounding',
      'roundingLr',
      'loss',
    ),
    seed: undefined,
  }),
  imatrix: call((o: lb.ImatrixAlgorithmOptions) => lb.imatrix(o), { type: 'Q4_K' }),
  gptq: call((o: lb.GptqOptions) => lb.gptq(o), { ...stored, ...gptq }),
  gptqQuantizer: call((o: lb.GptqQuantizerOptions) => lb.gptqQuantizer(o), gptq),
  gptaq: call((o: lb.GptaqOptions) => lb.gptaq(o), { ...stored, ...gptq, alpha: undefined }),
  gptaqQuantizer: call((o: lb.GptaqQuantizerOptions) => lb.gptaqQuantizer(o), { ...gptq, alpha: undefined }),
}
