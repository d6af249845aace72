export type { DType, FloatDType } from './core/dtype.ts'
export { DeviceError, DTypeError, FormatError, ShapeError } from './core/errors.ts'
export type { QType, QTypeName } from './core/qtype.ts'
export { qfloat8, qfloat8_e4m3fn, qfloat8_e4m3fnuz, qfloat8_e5m2, qint2, qint4, qint8, qtypes } from './core/qtype.ts'
export type { Device } from './devices/device.ts'
export { type DeviceName, type DeviceOptions, openDevice } from './devices/open.ts'
export { type BenchOptions, type BenchResult, bench } from './evaluate/bench.ts'
export { type Perplexity, type PerplexityOptions, perplexity } from './evaluate/perplexity.ts'
export { relativeError, weightErrors } from './evaluate/weightError.ts'
export { type Folder, type FolderSink, memoryFolder } from './formats/source.ts'
export { type GenerateOptions, type Generation, generate, generateTokens } from './models/generate.ts'
export { LlamaForCausalLM } from './models/llama.ts'
export { type LoadOptions, loadCausalLM, type ModelPlace } from './models/load.ts'
export { type SaveOptions, save } from './models/save.ts'
export { type ChatMessage, Tokenizer } from './models/tokenizer.ts'
export { Embedding } from './nn/embedding.ts'
export { initialize } from './nn/initialize.ts'
export { Linear } from './nn/linear.ts'
export { Module, type Parameter } from './nn/module.ts'
export { QEmbedding } from './nn/qembedding.ts'
export { QLinear, setComputeDtype } from './nn/qlinear.ts'
export { RMSNorm } from './nn/rmsNorm.ts'
export type { ComputeDType } from './qtensor/linear.ts'
export type { Optimizer, ScaleAndShift } from './qtensor/optimizer.ts'
export { QTensor } from './qtensor/qtensor.ts'
export { dequantize } from './quantize/dequantize.ts'
export { absmax, type HqqOptions, hqq, hqqOptimizer, max, withZeroPoint } from './quantize/optimizers.ts'
export { freeze, memoryFootprint, type QuantizeOptions, quantizationMap, quantize } from './quantize/quantize.ts'
export {
  float8DynamicActivationFloat8Weight,
  float8WeightOnly,
  type IntxName,
  type IntxOptions,
  int4WeightOnly,
  int8DynamicActivationInt4Weight,
  int8DynamicActivationInt8Weight,
  int8DynamicActivationIntxWeight,
  int8WeightOnly,
  intxWeightOnly,
  quantizeByName,
} from './quantize/recipes.ts'
export { backward } from './tensor/backward.ts'
export * as ops from './tensor/ops/index.ts'
export { keep, scope } from './tensor/scope.ts'
export { noGrad, record } from './tensor/tape.ts'
export { Tensor } from './tensor/tensor.ts'
