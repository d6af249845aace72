import { cases as absmaxScale } from './absmaxScale/absmaxScale.cases.ts'
import { cases as adadeltaStep } from './adadeltaStep/adadeltaStep.cases.ts'
import { cases as adamStep } from './adamStep/adamStep.cases.ts'
import { cases as affine } from './affine/affine.cases.ts'
import { cases as affineDequantize } from './affineDequantize/affineDequantize.cases.ts'
import { cases as affineQuantize } from './affineQuantize/affineQuantize.cases.ts'
import { cases as affineScale } from './affineScale/affineScale.cases.ts'
import { cases as argmax } from './argmax/argmax.cases.ts'
import { cases as attention } from './attention/attention.cases.ts'
import { cases as attentionGrad } from './attentionGrad/attentionGrad.cases.ts'
import { cases as avgPool2d } from './avgPool2d/avgPool2d.cases.ts'
import { cases as avgPool2dGrad } from './avgPool2dGrad/avgPool2dGrad.cases.ts'
import { cases as batchNorm } from './batchNorm/batchNorm.cases.ts'
import { cases as batchNormGrad } from './batchNormGrad/batchNormGrad.cases.ts'
import { cases as binary } from './binary/binary.cases.ts'
import { cases as cacheWrite } from './cacheWrite/cacheWrite.cases.ts'
import type { KernelCase } from './case.ts'
import { cases as cast } from './cast/cast.cases.ts'
import { cases as channelAffine } from './channelAffine/channelAffine.cases.ts'
import { cases as clamp } from './clamp/clamp.cases.ts'
import { cases as clampGrad } from './clampGrad/clampGrad.cases.ts'
import { cases as clipNorm } from './clipNorm/clipNorm.cases.ts'
import { cases as columnSum } from './columnSum/columnSum.cases.ts'
import { cases as conv2d, benchmarks as conv2dBenchmarks } from './conv2d/conv2d.cases.ts'
import {
  cases as conv2dInputGradient,
  benchmarks as conv2dInputGradientBenchmarks,
} from './conv2dInputGradient/conv2dInputGradient.cases.ts'
import {
  cases as conv2dWeightGradient,
  benchmarks as conv2dWeightGradientBenchmarks,
} from './conv2dWeightGradient/conv2dWeightGradient.cases.ts'
import { cases as copy } from './copy/copy.cases.ts'
import { cases as crossEntropy } from './crossEntropy/crossEntropy.cases.ts'
import { cases as dequantize } from './dequantize/dequantize.cases.ts'
import { cases as dequantizeActivation } from './dequantizeActivation/dequantizeActivation.cases.ts'
import { cases as dropout } from './dropout/dropout.cases.ts'
import { cases as embedding } from './embedding/embedding.cases.ts'
import { cases as embeddingGrad } from './embeddingGrad/embeddingGrad.cases.ts'
import { cases as fakeQuantize } from './fakeQuantize/fakeQuantize.cases.ts'
import { cases as fakeQuantizeGrad } from './fakeQuantizeGrad/fakeQuantizeGrad.cases.ts'
import { cases as fill } from './fill/fill.cases.ts'
import { cases as gemm, benchmarks as gemmBenchmarks } from './gemm/gemm.cases.ts'
import { cases as hqqShift } from './hqqShift/hqqShift.cases.ts'
import { cases as int8Rows } from './int8Rows/int8Rows.cases.ts'
import { cases as klDivergence } from './klDivergence/klDivergence.cases.ts'
import { cases as layerNorm } from './layerNorm/layerNorm.cases.ts'
import { cases as logSoftmax } from './logSoftmax/logSoftmax.cases.ts'
import { cases as magnitudeHistogram } from './magnitudeHistogram/magnitudeHistogram.cases.ts'
import { cases as maxPool2d } from './maxPool2d/maxPool2d.cases.ts'
import { cases as maxPool2dGrad } from './maxPool2dGrad/maxPool2dGrad.cases.ts'
import { cases as minmaxScale } from './minmaxScale/minmaxScale.cases.ts'
import { cases as movingScale } from './movingScale/movingScale.cases.ts'
import { cases as nll } from './nll/nll.cases.ts'
import { cases as nllGrad } from './nllGrad/nllGrad.cases.ts'
import { cases as pad2d } from './pad2d/pad2d.cases.ts'
import { cases as pad2dGradient } from './pad2dGradient/pad2dGradient.cases.ts'
import { cases as qembedding } from './qembedding/qembedding.cases.ts'
import { cases as qmatmul, benchmarks as qmatmulBenchmarks } from './qmatmul/qmatmul.cases.ts'
import { cases as qmatmulInt8, benchmarks as qmatmulInt8Benchmarks } from './qmatmulInt8/qmatmulInt8.cases.ts'
import { cases as quantize } from './quantize/quantize.cases.ts'
import { cases as quantizeActivation } from './quantizeActivation/quantizeActivation.cases.ts'
import { cases as quantizeDequantize } from './quantizeDequantize/quantizeDequantize.cases.ts'
import { cases as quantizeRows, benchmarks as quantizeRowsBenchmarks } from './quantizeRows/quantizeRows.cases.ts'
import { cases as reduce } from './reduce/reduce.cases.ts'
import { cases as rmsNorm } from './rmsNorm/rmsNorm.cases.ts'
import { cases as rope } from './rope/rope.cases.ts'
import { cases as rowNormGrad } from './rowNormGrad/rowNormGrad.cases.ts'
import { cases as scaleBy } from './scaleBy/scaleBy.cases.ts'
import { cases as sgdStep } from './sgdStep/sgdStep.cases.ts'
import type { KernelName } from './signatures.ts'
import { cases as siluMul } from './siluMul/siluMul.cases.ts'
import { cases as softmax } from './softmax/softmax.cases.ts'
import { cases as softmaxGrad } from './softmaxGrad/softmaxGrad.cases.ts'
import { cases as stridedCopy } from './stridedCopy/stridedCopy.cases.ts'
import { cases as tileBlocks, benchmarks as tileBlocksBenchmarks } from './tileBlocks/tileBlocks.cases.ts'
import { cases as tilePack } from './tilePack/tilePack.cases.ts'
import { cases as tileUnpack } from './tileUnpack/tileUnpack.cases.ts'
import { cases as unary } from './unary/unary.cases.ts'
import { cases as unaryGrad } from './unaryGrad/unaryGrad.cases.ts'
import { cases as unaryInt8 } from './unaryInt8/unaryInt8.cases.ts'
import { cases as untileBlocks } from './untileBlocks/untileBlocks.cases.ts'
import { cases as where } from './where/where.cases.ts'

/** The cases of every kernel. */
export const cases: Record<KernelName, readonly KernelCase[]> = {
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
}

/** Cases of the sizes that models have, too slow for the definitions; bench/kernels.ts times them on every device. */
export const benchmarks: Partial<Record<KernelName, readonly KernelCase[]>> = {
  gemm: gemmBenchmarks,
  conv2d: conv2dBenchmarks,
  conv2dInputGradient: conv2dInputGradientBenchmarks,
  conv2dWeightGradient: conv2dWeightGradientBenchmarks,
  qmatmul: qmatmulBenchmarks,
  tileBlocks: tileBlocksBenchmarks,
  quantizeRows: quantizeRowsBenchmarks,
  qmatmulInt8: qmatmulInt8Benchmarks,
}
