/** Operations on tensors: functions that check their arguments once and queue one kernel call. */

export { type AttentionOptions, attention, cacheWrite, causalAttention } from './attention.ts'
export { broadcastShape, expand } from './broadcast.ts'
export { columnSum } from './columnSum.ts'
export {
  type ConvOptions,
  type ConvTransposeOptions,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
  type Pair,
} from './conv.ts'
export {
  abs,
  add,
  affine,
  cast,
  clamp,
  div,
  dropout,
  exp,
  gelu,
  leakyRelu,
  log,
  maskedFill,
  mul,
  neg,
  type Operand,
  relu,
  sigmoid,
  silu,
  siluMul,
  sqrt,
  sub,
  tanh,
  unary,
  where,
} from './elementwise.ts'
export { embedding } from './embedding.ts'
export { belowTopK, combineRows, type GroupedRows, groupRows, topK } from './experts.ts'
export { type FakeQuantizeOptions, fakeQuantize } from './fakeQuantize.ts'
export { matmul } from './matmul.ts'
export { matmulTransposed } from './matmulTransposed.ts'
export { type NllOptions, nll } from './nll.ts'
export {
  type BatchNormSettings,
  batchNorm,
  batchNormInference,
  channelAffine,
  groupNorm,
  layerNorm,
  type RunningStatistics,
  rmsNorm,
} from './normalize.ts'
export { type Padding, type PadMode, pad } from './pad.ts'
export {
  type AvgPoolOptions,
  adaptiveAvgPool2d,
  adaptiveMaxPool2d,
  avgPool2d,
  type MaxPoolOptions,
  maxPool2d,
  type PoolOptions,
  pool1d,
} from './pool.ts'
export type { Position } from './position.ts'
export { argmax, crossEntropy, klDivergence, logSoftmax, mean, reduce, softmax, sum } from './reduce.ts'
export { type RopeOptions, rope } from './rope.ts'
export { type ScaledDotProductOptions, scaledDotProductAttention } from './scaledDotProduct.ts'
export { concat, flatten, permute, slice, split, stack, transpose, valuesAt } from './shape.ts'
export { full } from './strided.ts'
