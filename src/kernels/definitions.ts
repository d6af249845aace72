// Made from native/kernels.def by `node native/def.mjs`; edit that file instead.
import { copy } from './layout/copy/copy.ts'
import { fill } from './layout/fill/fill.ts'
import { cast } from './layout/cast/cast.ts'
import { stridedCopy } from './layout/stridedCopy/stridedCopy.ts'
import { pad2d } from './layout/pad2d/pad2d.ts'
import { pad2dGradient } from './layout/pad2dGradient/pad2dGradient.ts'
import { valuesAt } from './layout/valuesAt/valuesAt.ts'
import { permuteColumns } from './layout/permuteColumns/permuteColumns.ts'
import { tilePack } from './layout/tilePack/tilePack.ts'
import { tileUnpack } from './layout/tileUnpack/tileUnpack.ts'
import { unpackCodes } from './layout/unpackCodes/unpackCodes.ts'
import { packCodes } from './layout/packCodes/packCodes.ts'
import { unpackBlocks } from './layout/unpackBlocks/unpackBlocks.ts'
import { packBlocks } from './layout/packBlocks/packBlocks.ts'
import { checkFinite } from './layout/checkFinite/checkFinite.ts'
import { binary } from './elementwise/binary/binary.ts'
import { unary } from './elementwise/unary/unary.ts'
import { unaryGrad } from './elementwise/unaryGrad/unaryGrad.ts'
import { affine } from './elementwise/affine/affine.ts'
import { siluMul } from './elementwise/siluMul/siluMul.ts'
import { clamp } from './elementwise/clamp/clamp.ts'
import { clampGrad } from './elementwise/clampGrad/clampGrad.ts'
import { where } from './elementwise/where/where.ts'
import { dropout } from './elementwise/dropout/dropout.ts'
import { reduce } from './reduce/reduce/reduce.ts'
import { squaredError } from './reduce/squaredError/squaredError.ts'
import { argmax } from './reduce/argmax/argmax.ts'
import { softmax } from './reduce/softmax/softmax.ts'
import { softmaxGrad } from './reduce/softmaxGrad/softmaxGrad.ts'
import { logSoftmax } from './reduce/logSoftmax/logSoftmax.ts'
import { columnSum } from './reduce/columnSum/columnSum.ts'
import { gemm } from './matmul/gemm/gemm.ts'
import { qmatmul } from './matmul/qmatmul/qmatmul.ts'
import { qmatmulInt8 } from './matmul/qmatmulInt8/qmatmulInt8.ts'
import { addOutliers } from './matmul/addOutliers/addOutliers.ts'
import { topK } from './experts/topK/topK.ts'
import { groupRows } from './experts/groupRows/groupRows.ts'
import { combineRows } from './experts/combineRows/combineRows.ts'
import { embedding } from './embedding/embedding/embedding.ts'
import { embeddingGrad } from './embedding/embeddingGrad/embeddingGrad.ts'
import { qembedding } from './embedding/qembedding/qembedding.ts'
import { attention } from './attention/attention/attention.ts'
import { attentionGrad } from './attention/attentionGrad/attentionGrad.ts'
import { attentionCached } from './attention/attentionCached/attentionCached.ts'
import { rope } from './attention/rope/rope.ts'
import { cacheWrite } from './attention/cacheWrite/cacheWrite.ts'
import { cacheQuantize } from './attention/cacheQuantize/cacheQuantize.ts'
import { rmsNorm } from './norm/rmsNorm/rmsNorm.ts'
import { layerNorm } from './norm/layerNorm/layerNorm.ts'
import { rowNormGrad } from './norm/rowNormGrad/rowNormGrad.ts'
import { batchNorm } from './norm/batchNorm/batchNorm.ts'
import { batchNormGrad } from './norm/batchNormGrad/batchNormGrad.ts'
import { channelAffine } from './norm/channelAffine/channelAffine.ts'
import { conv2d } from './conv/conv2d/conv2d.ts'
import { conv2dInputGradient } from './conv/conv2dInputGradient/conv2dInputGradient.ts'
import { conv2dWeightGradient } from './conv/conv2dWeightGradient/conv2dWeightGradient.ts'
import { conv2dInt8 } from './conv/conv2dInt8/conv2dInt8.ts'
import { maxPool2d } from './pool/maxPool2d/maxPool2d.ts'
import { maxPool2dGrad } from './pool/maxPool2dGrad/maxPool2dGrad.ts'
import { avgPool2d } from './pool/avgPool2d/avgPool2d.ts'
import { avgPool2dGrad } from './pool/avgPool2dGrad/avgPool2dGrad.ts'
import { crossEntropy } from './loss/crossEntropy/crossEntropy.ts'
import { klDivergence } from './loss/klDivergence/klDivergence.ts'
import { nll } from './loss/nll/nll.ts'
import { nllGrad } from './loss/nllGrad/nllGrad.ts'
import { chooseScale } from './quantize/chooseScale/chooseScale.ts'
import { hqqShift } from './quantize/hqqShift/hqqShift.ts'
import { magnitudeHistogram } from './quantize/magnitudeHistogram/magnitudeHistogram.ts'
import { quantizeCodebook } from './quantize/quantizeCodebook/quantizeCodebook.ts'
import { quantizeBlocks } from './quantize/quantizeBlocks/quantizeBlocks.ts'
import { nestScale } from './quantize/nestScale/nestScale.ts'
import { movingScale } from './quantize/movingScale/movingScale.ts'
import { quantize } from './quantize/quantize/quantize.ts'
import { dequantize } from './quantize/dequantize/dequantize.ts'
import { unnestScale } from './quantize/unnestScale/unnestScale.ts'
import { fakeQuantize } from './quantize/fakeQuantize/fakeQuantize.ts'
import { fakeQuantizeGrad } from './quantize/fakeQuantizeGrad/fakeQuantizeGrad.ts'
import { quantizeRows } from './quantize/quantizeRows/quantizeRows.ts'
import { quantizeRmsNorm } from './quantize/quantizeRmsNorm/quantizeRmsNorm.ts'
import { quantizeSiluMul } from './quantize/quantizeSiluMul/quantizeSiluMul.ts'
import { addToCodes } from './quantize/addToCodes/addToCodes.ts'
import { quantizeOutliers } from './quantize/quantizeOutliers/quantizeOutliers.ts'
import { unaryInt8 } from './quantize/unaryInt8/unaryInt8.ts'
import { clampInt8 } from './quantize/clampInt8/clampInt8.ts'
import { padRows } from './quantize/padRows/padRows.ts'
import { scaleBy } from './quantize/scaleBy/scaleBy.ts'
import { gram } from './solve/gram/gram.ts'
import { solvingOrder } from './solve/solvingOrder/solvingOrder.ts'
import { inverseFactor } from './solve/inverseFactor/inverseFactor.ts'
import { aboveDiagonal } from './solve/aboveDiagonal/aboveDiagonal.ts'
import { gptqSweep } from './solve/gptqSweep/gptqSweep.ts'
import { sgdStep } from './optim/sgdStep/sgdStep.ts'
import { adamStep } from './optim/adamStep/adamStep.ts'
import { adadeltaStep } from './optim/adadeltaStep/adadeltaStep.ts'
import { clipNorm } from './optim/clipNorm/clipNorm.ts'
import type { KernelName } from './signatures.ts'

/** The definition of every kernel: plain loops over arrays of raw bits, the oracle of all devices. */
export const definitions: Record<KernelName, (...args: never[]) => void> = {
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
