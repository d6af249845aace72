// Made from native/kernels.def by `node native/def.mjs`; edit that file instead.
import type { KernelCase } from './case.ts'
import { cases as copy } from './layout/copy/copy.cases.ts'
import { cases as fill } from './layout/fill/fill.cases.ts'
import { cases as cast } from './layout/cast/cast.cases.ts'
import { cases as stridedCopy } from './layout/stridedCopy/stridedCopy.cases.ts'
import { cases as pad2d } from './layout/pad2d/pad2d.cases.ts'
import { cases as pad2dGradient } from './layout/pad2dGradient/pad2dGradient.cases.ts'
import { cases as valuesAt } from './layout/valuesAt/valuesAt.cases.ts'
import { cases as permuteColumns } from './layout/permuteColumns/permuteColumns.cases.ts'
import { cases as tilePack } from './layout/tilePack/tilePack.cases.ts'
import { cases as tileUnpack } from './layout/tileUnpack/tileUnpack.cases.ts'
import { cases as unpackCodes } from './layout/unpackCodes/unpackCodes.cases.ts'
import { cases as packCodes } from './layout/packCodes/packCodes.cases.ts'
import { cases as unpackBlocks, benchmarks as unpackBlocksBenchmarks } from './layout/unpackBlocks/unpackBlocks.cases.ts'
import { cases as packBlocks } from './layout/packBlocks/packBlocks.cases.ts'
import { cases as checkFinite, benchmarks as checkFiniteBenchmarks } from './layout/checkFinite/checkFinite.cases.ts'
import { cases as binary } from './elementwise/binary/binary.cases.ts'
import { cases as unary } from './elementwise/unary/unary.cases.ts'
import { cases as unaryGrad } from './elementwise/unaryGrad/unaryGrad.cases.ts'
import { cases as affine } from './elementwise/affine/affine.cases.ts'
import { cases as siluMul } from './elementwise/siluMul/siluMul.cases.ts'
import { cases as clamp } from './elementwise/clamp/clamp.cases.ts'
import { cases as clampGrad } from './elementwise/clampGrad/clampGrad.cases.ts'
import { cases as where } from './elementwise/where/where.cases.ts'
import { cases as dropout } from './elementwise/dropout/dropout.cases.ts'
import { cases as reduce } from './reduce/reduce/reduce.cases.ts'
import { cases as squaredError } from './reduce/squaredError/squaredError.cases.ts'
import { cases as argmax } from './reduce/argmax/argmax.cases.ts'
import { cases as softmax } from './reduce/softmax/softmax.cases.ts'
import { cases as softmaxGrad } from './reduce/softmaxGrad/softmaxGrad.cases.ts'
import { cases as logSoftmax } from './reduce/logSoftmax/logSoftmax.cases.ts'
import { cases as columnSum } from './reduce/columnSum/columnSum.cases.ts'
import { cases as gemm, benchmarks as gemmBenchmarks } from './matmul/gemm/gemm.cases.ts'
import { cases as qmatmul, benchmarks as qmatmulBenchmarks } from './matmul/qmatmul/qmatmul.cases.ts'
import { cases as qmatmulInt8, benchmarks as qmatmulInt8Benchmarks } from './matmul/qmatmulInt8/qmatmulInt8.cases.ts'
import { cases as addOutliers, benchmarks as addOutliersBenchmarks } from './matmul/addOutliers/addOutliers.cases.ts'
import { cases as topK } from './experts/topK/topK.cases.ts'
import { cases as groupRows } from './experts/groupRows/groupRows.cases.ts'
import { cases as combineRows } from './experts/combineRows/combineRows.cases.ts'
import { cases as embedding } from './embedding/embedding/embedding.cases.ts'
import { cases as embeddingGrad } from './embedding/embeddingGrad/embeddingGrad.cases.ts'
import { cases as qembedding } from './embedding/qembedding/qembedding.cases.ts'
import { cases as attention, benchmarks as attentionBenchmarks } from './attention/attention/attention.cases.ts'
import { cases as attentionGrad } from './attention/attentionGrad/attentionGrad.cases.ts'
import { cases as attentionCached, benchmarks as attentionCachedBenchmarks } from './attention/attentionCached/attentionCached.cases.ts'
import { cases as rope } from './attention/rope/rope.cases.ts'
import { cases as cacheWrite } from './attention/cacheWrite/cacheWrite.cases.ts'
import { cases as cacheQuantize } from './attention/cacheQuantize/cacheQuantize.cases.ts'
import { cases as rmsNorm } from './norm/rmsNorm/rmsNorm.cases.ts'
import { cases as layerNorm } from './norm/layerNorm/layerNorm.cases.ts'
import { cases as rowNormGrad } from './norm/rowNormGrad/rowNormGrad.cases.ts'
import { cases as batchNorm } from './norm/batchNorm/batchNorm.cases.ts'
import { cases as batchNormGrad } from './norm/batchNormGrad/batchNormGrad.cases.ts'
import { cases as channelAffine } from './norm/channelAffine/channelAffine.cases.ts'
import { cases as conv2d, benchmarks as conv2dBenchmarks } from './conv/conv2d/conv2d.cases.ts'
import { cases as conv2dInputGradient, benchmarks as conv2dInputGradientBenchmarks } from './conv/conv2dInputGradient/conv2dInputGradient.cases.ts'
import { cases as conv2dWeightGradient, benchmarks as conv2dWeightGradientBenchmarks } from './conv/conv2dWeightGradient/conv2dWeightGradient.cases.ts'
import { cases as conv2dInt8, benchmarks as conv2dInt8Benchmarks } from './conv/conv2dInt8/conv2dInt8.cases.ts'
import { cases as maxPool2d } from './pool/maxPool2d/maxPool2d.cases.ts'
import { cases as maxPool2dGrad } from './pool/maxPool2dGrad/maxPool2dGrad.cases.ts'
import { cases as avgPool2d } from './pool/avgPool2d/avgPool2d.cases.ts'
import { cases as avgPool2dGrad } from './pool/avgPool2dGrad/avgPool2dGrad.cases.ts'
import { cases as crossEntropy } from './loss/crossEntropy/crossEntropy.cases.ts'
import { cases as klDivergence } from './loss/klDivergence/klDivergence.cases.ts'
import { cases as nll } from './loss/nll/nll.cases.ts'
import { cases as nllGrad } from './loss/nllGrad/nllGrad.cases.ts'
import { cases as chooseScale, benchmarks as chooseScaleBenchmarks } from './quantize/chooseScale/chooseScale.cases.ts'
import { cases as hqqShift } from './quantize/hqqShift/hqqShift.cases.ts'
import { cases as magnitudeHistogram } from './quantize/magnitudeHistogram/magnitudeHistogram.cases.ts'
import { cases as quantizeCodebook } from './quantize/quantizeCodebook/quantizeCodebook.cases.ts'
import { cases as quantizeBlocks, benchmarks as quantizeBlocksBenchmarks } from './quantize/quantizeBlocks/quantizeBlocks.cases.ts'
import { cases as nestScale } from './quantize/nestScale/nestScale.cases.ts'
import { cases as movingScale } from './quantize/movingScale/movingScale.cases.ts'
import { cases as quantize, benchmarks as quantizeBenchmarks } from './quantize/quantize/quantize.cases.ts'
import { cases as dequantize, benchmarks as dequantizeBenchmarks } from './quantize/dequantize/dequantize.cases.ts'
import { cases as unnestScale } from './quantize/unnestScale/unnestScale.cases.ts'
import { cases as fakeQuantize, benchmarks as fakeQuantizeBenchmarks } from './quantize/fakeQuantize/fakeQuantize.cases.ts'
import { cases as fakeQuantizeGrad } from './quantize/fakeQuantizeGrad/fakeQuantizeGrad.cases.ts'
import { cases as quantizeRows, benchmarks as quantizeRowsBenchmarks } from './quantize/quantizeRows/quantizeRows.cases.ts'
import { cases as quantizeRmsNorm, benchmarks as quantizeRmsNormBenchmarks } from './quantize/quantizeRmsNorm/quantizeRmsNorm.cases.ts'
import { cases as quantizeSiluMul, benchmarks as quantizeSiluMulBenchmarks } from './quantize/quantizeSiluMul/quantizeSiluMul.cases.ts'
import { cases as addToCodes } from './quantize/addToCodes/addToCodes.cases.ts'
import { cases as quantizeOutliers, benchmarks as quantizeOutliersBenchmarks } from './quantize/quantizeOutliers/quantizeOutliers.cases.ts'
import { cases as unaryInt8 } from './quantize/unaryInt8/unaryInt8.cases.ts'
import { cases as clampInt8 } from './quantize/clampInt8/clampInt8.cases.ts'
import { cases as padRows } from './quantize/padRows/padRows.cases.ts'
import { cases as scaleBy } from './quantize/scaleBy/scaleBy.cases.ts'
import { cases as gram } from './solve/gram/gram.cases.ts'
import { cases as solvingOrder } from './solve/solvingOrder/solvingOrder.cases.ts'
import { cases as inverseFactor } from './solve/inverseFactor/inverseFactor.cases.ts'
import { cases as aboveDiagonal } from './solve/aboveDiagonal/aboveDiagonal.cases.ts'
import { cases as gptqSweep } from './solve/gptqSweep/gptqSweep.cases.ts'
import { cases as sgdStep } from './optim/sgdStep/sgdStep.cases.ts'
import { cases as adamStep } from './optim/adamStep/adamStep.cases.ts'
import { cases as adadeltaStep } from './optim/adadeltaStep/adadeltaStep.cases.ts'
import { cases as clipNorm } from './optim/clipNorm/clipNorm.cases.ts'
import type { KernelName } from './signatures.ts'

/** The cases of every kernel, for tests on all devices. */
export const cases: Record<KernelName, readonly KernelCase[]> = {
  copy,
  fill,
  cast,
  stridedCopy,
  pad2d,
  pad2dGradient,
  valuesAt,
  permuteColumns,
  tilePack,
  tileUnpack,
  unpackCodes,
  packCodes,
  unpackBlocks,
  packBlocks,
  checkFinite,
  binary,
  unary,
  unaryGrad,
  affine,
  siluMul,
  clamp,
  clampGrad,
  where,
  dropout,
  reduce,
  squaredError,
  argmax,
  softmax,
  softmaxGrad,
  logSoftmax,
  columnSum,
  gemm,
  qmatmul,
  qmatmulInt8,
  addOutliers,
  topK,
  groupRows,
  combineRows,
  embedding,
  embeddingGrad,
  qembedding,
  attention,
  attentionGrad,
  attentionCached,
  rope,
  cacheWrite,
  cacheQuantize,
  rmsNorm,
  layerNorm,
  rowNormGrad,
  batchNorm,
  batchNormGrad,
  channelAffine,
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  conv2dInt8,
  maxPool2d,
  maxPool2dGrad,
  avgPool2d,
  avgPool2dGrad,
  crossEntropy,
  klDivergence,
  nll,
  nllGrad,
  chooseScale,
  hqqShift,
  magnitudeHistogram,
  quantizeCodebook,
  quantizeBlocks,
  nestScale,
  movingScale,
  quantize,
  dequantize,
  unnestScale,
  fakeQuantize,
  fakeQuantizeGrad,
  quantizeRows,
  quantizeRmsNorm,
  quantizeSiluMul,
  addToCodes,
  quantizeOutliers,
  unaryInt8,
  clampInt8,
  padRows,
  scaleBy,
  gram,
  solvingOrder,
  inverseFactor,
  aboveDiagonal,
  gptqSweep,
  sgdStep,
  adamStep,
  adadeltaStep,
  clipNorm,
}

/**
 * Cases of the sizes that models have, too slow for the definitions; bench/kernels.ts times them on every
 * device.
 */
export const benchmarks: Partial<Record<KernelName, readonly KernelCase[]>> = {
  unpackBlocks: unpackBlocksBenchmarks,
  checkFinite: checkFiniteBenchmarks,
  gemm: gemmBenchmarks,
  qmatmul: qmatmulBenchmarks,
  qmatmulInt8: qmatmulInt8Benchmarks,
  addOutliers: addOutliersBenchmarks,
  attention: attentionBenchmarks,
  attentionCached: attentionCachedBenchmarks,
  conv2d: conv2dBenchmarks,
  conv2dInputGradient: conv2dInputGradientBenchmarks,
  conv2dWeightGradient: conv2dWeightGradientBenchmarks,
  conv2dInt8: conv2dInt8Benchmarks,
  chooseScale: chooseScaleBenchmarks,
  quantizeBlocks: quantizeBlocksBenchmarks,
  quantize: quantizeBenchmarks,
  dequantize: dequantizeBenchmarks,
  fakeQuantize: fakeQuantizeBenchmarks,
  quantizeRows: quantizeRowsBenchmarks,
  quantizeRmsNorm: quantizeRmsNormBenchmarks,
  quantizeSiluMul: quantizeSiluMulBenchmarks,
  quantizeOutliers: quantizeOutliersBenchmarks,
}
