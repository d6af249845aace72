import { absmaxScale } from './absmaxScale/absmaxScale.ts'
import { adadeltaStep } from './adadeltaStep/adadeltaStep.ts'
import { adamStep } from './adamStep/adamStep.ts'
import { affine } from './affine/affine.ts'
import { affineDequantize } from './affineDequantize/affineDequantize.ts'
import { affineQuantize } from './affineQuantize/affineQuantize.ts'
import { affineScale } from './affineScale/affineScale.ts'
import { argmax } from './argmax/argmax.ts'
import { attention } from './attention/attention.ts'
import { attentionGrad } from './attentionGrad/attentionGrad.ts'
import { avgPool2d } from './avgPool2d/avgPool2d.ts'
import { avgPool2dGrad } from './avgPool2dGrad/avgPool2dGrad.ts'
import { batchNorm } from './batchNorm/batchNorm.ts'
import { batchNormGrad } from './batchNormGrad/batchNormGrad.ts'
import { binary } from './binary/binary.ts'
import { cacheWrite } from './cacheWrite/cacheWrite.ts'
import { cast } from './cast/cast.ts'
import { channelAffine } from './channelAffine/channelAffine.ts'
import { clamp } from './clamp/clamp.ts'
import { clampGrad } from './clampGrad/clampGrad.ts'
import { clipNorm } from './clipNorm/clipNorm.ts'
import { columnSum } from './columnSum/columnSum.ts'
import { conv2d } from './conv2d/conv2d.ts'
import { conv2dInputGradient } from './conv2dInputGradient/conv2dInputGradient.ts'
import { conv2dWeightGradient } from './conv2dWeightGradient/conv2dWeightGradient.ts'
import { copy } from './copy/copy.ts'
import { crossEntropy } from './crossEntropy/crossEntropy.ts'
import { dequantize } from './dequantize/dequantize.ts'
import { dequantizeActivation } from './dequantizeActivation/dequantizeActivation.ts'
import { dropout } from './dropout/dropout.ts'
import { embedding } from './embedding/embedding.ts'
import { embeddingGrad } from './embeddingGrad/embeddingGrad.ts'
import { fakeQuantize } from './fakeQuantize/fakeQuantize.ts'
import { fakeQuantizeGrad } from './fakeQuantizeGrad/fakeQuantizeGrad.ts'
import { fill } from './fill/fill.ts'
import { gemm } from './gemm/gemm.ts'
import { hqqShift } from './hqqShift/hqqShift.ts'
import { int8Rows } from './int8Rows/int8Rows.ts'
import { klDivergence } from './klDivergence/klDivergence.ts'
import { layerNorm } from './layerNorm/layerNorm.ts'
import { logSoftmax } from './logSoftmax/logSoftmax.ts'
import { magnitudeHistogram } from './magnitudeHistogram/magnitudeHistogram.ts'
import { maxPool2d } from './maxPool2d/maxPool2d.ts'
import { maxPool2dGrad } from './maxPool2dGrad/maxPool2dGrad.ts'
import { minmaxScale } from './minmaxScale/minmaxScale.ts'
import { movingScale } from './movingScale/movingScale.ts'
import { nll } from './nll/nll.ts'
import { nllGrad } from './nllGrad/nllGrad.ts'
import { pad2d } from './pad2d/pad2d.ts'
import { pad2dGradient } from './pad2dGradient/pad2dGradient.ts'
import { qembedding } from './qembedding/qembedding.ts'
import { qmatmul } from './qmatmul/qmatmul.ts'
import { qmatmulInt8 } from './qmatmulInt8/qmatmulInt8.ts'
import { quantize } from './quantize/quantize.ts'
import { quantizeActivation } from './quantizeActivation/quantizeActivation.ts'
import { quantizeDequantize } from './quantizeDequantize/quantizeDequantize.ts'
import { quantizeRows } from './quantizeRows/quantizeRows.ts'
import { reduce } from './reduce/reduce.ts'
import { rmsNorm } from './rmsNorm/rmsNorm.ts'
import { rope } from './rope/rope.ts'
import { rowNormGrad } from './rowNormGrad/rowNormGrad.ts'
import { scaleBy } from './scaleBy/scaleBy.ts'
import { sgdStep } from './sgdStep/sgdStep.ts'
import type { KernelName } from './signatures.ts'
import { siluMul } from './siluMul/siluMul.ts'
import { softmax } from './softmax/softmax.ts'
import { softmaxGrad } from './softmaxGrad/softmaxGrad.ts'
import { stridedCopy } from './stridedCopy/stridedCopy.ts'
import { tileBlocks } from './tileBlocks/tileBlocks.ts'
import { tilePack } from './tilePack/tilePack.ts'
import { tileUnpack } from './tileUnpack/tileUnpack.ts'
import { unary } from './unary/unary.ts'
import { unaryGrad } from './unaryGrad/unaryGrad.ts'
import { unaryInt8 } from './unaryInt8/unaryInt8.ts'
import { untileBlocks } from './untileBlocks/untileBlocks.ts'
import { where } from './where/where.ts'

/** The definition of every kernel: plain TypeScript, its arguments those of `kernels.def`; what every device is tested against. */
export const definitions = {
  copy,
  fill,
  cast,
  binary,
  unary,
  reduce,
  argmax,
  softmax,
  crossEntropy,
  klDivergence,
  siluMul,
  rmsNorm,
  embedding,
  rope,
  cacheWrite,
  attention,
  gemm,
  qmatmul,
  absmaxScale,
  minmaxScale,
  quantize,
  dequantize,
  tilePack,
  tileUnpack,
  tileBlocks,
  untileBlocks,
  quantizeRows,
  qmatmulInt8,
  qembedding,
  quantizeActivation,
  dequantizeActivation,
  quantizeDequantize,
  unaryInt8,
  int8Rows,
  scaleBy,
  movingScale,
  magnitudeHistogram,
  fakeQuantize,
  fakeQuantizeGrad,
  hqqShift,
  affineScale,
  affineQuantize,
  affineDequantize,
  sgdStep,
  adamStep,
  adadeltaStep,
  clipNorm,
  columnSum,
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  pad2d,
  pad2dGradient,
  unaryGrad,
  affine,
  stridedCopy,
  logSoftmax,
  softmaxGrad,
  nll,
  nllGrad,
  layerNorm,
  clamp,
  clampGrad,
  where,
  dropout,
  embeddingGrad,
  rowNormGrad,
  batchNorm,
  batchNormGrad,
  channelAffine,
  maxPool2d,
  maxPool2dGrad,
  avgPool2d,
  avgPool2dGrad,
  attentionGrad,
} as const satisfies Record<KernelName, (...args: never[]) => void>
