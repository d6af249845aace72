export { attention, cacheWrite, rope } from './attention.ts'
export { bmm } from './bmm.ts'
export { broadcastShape, expand } from './broadcast.ts'
export { columnSum } from './columnSum.ts'
export { type ConvOptions, type ConvTransposeOptions, conv1d, conv2d, convTranspose1d, convTranspose2d } from './conv.ts'
export {
  abs,
  add,
  addScalar,
  affine,
  cast,
  div,
  exp,
  gelu,
  leakyRelu,
  log,
  mul,
  mulScalar,
  neg,
  relu,
  sigmoid,
  silu,
  siluMul,
  sqrt,
  sub,
  tanh,
  unary,
} from './elementwise.ts'
export { embedding } from './embedding.ts'
export { matmul } from './matmul.ts'
export { nll } from './nll.ts'
export { layerNorm, rmsNorm } from './normalize.ts'
export { rmsNorm } from './normalize.ts'
export { type Padding, type PadMode, pad } from './pad.ts'
export { argmax, crossEntropy, klDivergence, logSoftmax, mean, reduce, softmax, sum } from './reduce.ts'
export { concat, flatten, permute, slice, split, stack, transpose } from './shape.ts'
