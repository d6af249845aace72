/// <reference lib="esnext.disposable" preserve="true" />

export type { LoadedState } from './checkpoints/fill.ts'
export { type LoadModuleOptions, load, readStateDict } from './checkpoints/load.ts'
export type { SaveOptions } from './checkpoints/save.ts'
export {
  type LoadStateOptions,
  loadStateDict,
  requantize,
  type SavedTensor,
  type StateDict,
  stateDict,
  type TypeMap,
} from './checkpoints/stateDict.ts'
export type { DType, FloatDType } from './core/dtype.ts'
export { DeviceError, DTypeError, FormatError, ShapeError } from './core/errors.ts'
export { type QType, type QTypeName, qfloat8, qtypes } from './core/qtype.ts'
export {
  fp4,
  nf4,
  qfloat8_e4m3fn,
  qfloat8_e4m3fnuz,
  qfloat8_e5m2,
  qint2,
  qint4,
  qint8,
} from './core/qtypes.ts'
export type { Device } from './devices/device.ts'
export { type DeviceName, type DeviceOptions, openDevice } from './devices/open.ts'
export { type Accuracy, accuracy } from './evaluate/accuracy.ts'
export { type BenchOptions, type BenchResult, bench } from './evaluate/bench.ts'
export { type BenchmarkOptions, type BenchmarkResult, benchmark } from './evaluate/benchmark.ts'
export {
  type BitsPoint,
  type ChooseBitsOptions,
  type ChosenBits,
  chooseBits,
  type LayerChoice,
} from './evaluate/chooseBits.ts'
export { type ComparedModel, compareOutputs, type OutputDifference } from './evaluate/compareOutputs.ts'
export { evaluateTask, type TaskOptions, type TaskResult } from './evaluate/evaluateTask.ts'
export { type Perplexity, type PerplexityOptions, perplexity } from './evaluate/perplexity.ts'
export type { TaskName } from './evaluate/tasks.ts'
export { relativeError, weightErrors } from './evaluate/weightError.ts'
export type { PerplexityDefinition } from './evaluate/windows.ts'
export { type HttpFolderOptions, httpFolder } from './formats/http.ts'
export type { Importance, ImportanceMatrix } from './formats/imatrix.ts'
export { type Folder, type FolderSink, memoryFolder } from './formats/source.ts'
export { type BatchOptions, generateBatch } from './models/batch/generateBatch.ts'
export { type LoadCacheOptions, loadCache, saveCache } from './models/caches/cacheFile.ts'
export type { CacheOptions, CacheType } from './models/caches/index.ts'
export type { KVCache } from './models/caches/kvCache.ts'
export type {
  AwqConfig,
  CalibratedConfig,
  CalibratedQuantization,
  GptqConfig,
} from './models/calibratedConfigs.ts'
export {
  type CalibrationDataOptions,
  type CalibrationSource,
  type CalibrationText,
  calibrationData,
  type SamplingOfTexts,
} from './models/calibrationData.ts'
export type { CalibrationSample, CalibrationSamplesOptions } from './models/calibrationSamples.ts'
export { CausalLM, type CausalLMConfig, type ForwardOptions } from './models/causalLM.ts'
export type { ChatMessage, ChatTemplateOptions } from './models/chatTemplate.ts'
export type { ConvertedTensor } from './models/conversionPlan.ts'
export { type Conversion, type ConvertOptions, convert } from './models/convert.ts'
export type { DecodeStream } from './models/decodeStream.ts'
export { GPT2LMHeadModel } from './models/families/gpt2.ts'
export { LlamaForCausalLM } from './models/families/llama.ts'
export { type FuseOptions, fuse } from './models/fuse.ts'
export {
  type GenerateOptions,
  generate,
  generateTokens,
  type StreamOptions,
  stream,
} from './models/generate.ts'
export type { Generation } from './models/generation.ts'
export { collectImatrix, type ImatrixOptions } from './models/imatrix.ts'
export type { ImatrixPlace } from './models/imatrixFile.ts'
export { type LoadOptions, loadCausalLM, type ModelPlace } from './models/load.ts'
export type { LogprobOptions, TokenLogprob } from './models/logprobs.ts'
export {
  type CheckpointTensor,
  type OpenCheckpoint,
  openCheckpoint,
  type ReadTensorOptions,
} from './models/openCheckpoint.ts'
export type { PenaltyOptions } from './models/penalties.ts'
export {
  type CalibratedOptions,
  quantizeCalibrated,
  type ScratchOptions,
} from './models/quantizeCalibrated.ts'
export { type MemoryOptions, type RequiredMemory, requiredMemory } from './models/requiredMemory.ts'
export type { SamplingOptions } from './models/sampling.ts'
export { save } from './models/save.ts'
export type { FinishReason, GeneratedToken, Prompt, SequenceOptions } from './models/sequence.ts'
export { type DecodeOptions, type EncodeOptions, Tokenizer } from './models/tokenizer.ts'
export { type Finding, type Verification, type VerifyOptions, verify } from './models/verify.ts'
export {
  GELU,
  type GELUOptions,
  LeakyReLU,
  LogSoftmax,
  ReLU,
  Sigmoid,
  SiLU,
  Softmax,
  Tanh,
} from './nn/activations.ts'
export { BatchNorm1d, BatchNorm2d, type BatchNormOptions } from './nn/batchNorm.ts'
export { Conv1d } from './nn/conv1d.ts'
export { Conv2d } from './nn/conv2d.ts'
export type { ConvTransposeLayerOptions, ForwardConvolutionOptions } from './nn/convolution.ts'
export { ConvTranspose1d, ConvTranspose2d } from './nn/convTranspose.ts'
export {
  type Image,
  type ImageBatch,
  imageFromBytes,
  type LabelledImage,
  stackImages,
} from './nn/data/image.ts'
export { DataLoader, type Dataset, type LoaderOptions } from './nn/data/loader.ts'
export * as transforms from './nn/data/transforms.ts'
export { Dropout } from './nn/dropout.ts'
export { Embedding, type EmbeddingOptions } from './nn/embedding.ts'
export { foldBatchNorm } from './nn/foldBatchNorm.ts'
export type { FuseMapping, FuseReport } from './nn/fuse.ts'
export { Conv1D, QConv1D } from './nn/gptConv1D.ts'
export { type InitializeOptions, initialize } from './nn/initialize.ts'
export { Linear, type LinearOptions } from './nn/linear.ts'
export {
  type ClassLossOptions,
  crossEntropyLoss,
  type Dequantizable,
  type KLDivLossOptions,
  klDivLoss,
  type LossOptions,
  l1Loss,
  mseLoss,
  nllLoss,
  type Reduction,
} from './nn/losses.ts'
export { Module, type ModuleListOptions, type Parameter } from './nn/module.ts'
export {
  type AttentionMasks,
  MultiheadAttention,
  type MultiheadAttentionOptions,
} from './nn/multiheadAttention.ts'
export { GroupNorm, type GroupNormOptions, LayerNorm, type LayerNormOptions } from './nn/normalization.ts'
export type { ForwardWatcher, Observation } from './nn/observe.ts'
export { Adadelta, type AdadeltaSettings } from './nn/optim/adadelta.ts'
export { Adam, type AdamSettings, AdamW } from './nn/optim/adam.ts'
export { type ClipOptions, clipGradNorm, clipGradValue } from './nn/optim/clip.ts'
export { OneCycleLR, type OneCycleOptions } from './nn/optim/oneCycle.ts'
export {
  type OptimizerState,
  ParameterOptimizer,
  type ParameterState,
  type StepSettings,
} from './nn/optim/optimizer.ts'
export {
  CosineAnnealingLR,
  type CosineAnnealingLROptions,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  type LinearLROptions,
  MultiStepLR,
  type MultiStepLROptions,
  Schedule,
  StepLR,
  type StepLROptions,
} from './nn/optim/schedules.ts'
export { SGD, type SGDSettings } from './nn/optim/sgd.ts'
export { AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d } from './nn/pooling.ts'
export { QConv } from './nn/qconv.ts'
export { QEmbedding } from './nn/qembedding.ts'
export { QLayerNorm } from './nn/qlayerNorm.ts'
export { QLinear } from './nn/qlinear.ts'
export {
  type ActivationQuantization,
  QModule,
  QWeightModule,
  setComputeDtype,
  type WeightQuantization,
} from './nn/qmodule.ts'
export { RMSNorm, type RMSNormOptions } from './nn/rmsNorm.ts'
export { Flatten, Identity, type Layer, Sequential } from './nn/sequential.ts'
export { compile, trace } from './nn/trace.ts'
export { type TrainOptions, trainEpoch } from './nn/training.ts'
export { type LayerClass, registerQuantizedModule, type Twin, type TwinOptions } from './nn/twins.ts'
export { QActivation } from './qtensor/activation.ts'
export { type QuantizedOp, registerQuantizedOp } from './qtensor/activationOps.ts'
export type { ComputeDType } from './qtensor/computeDtype.ts'
export type { Block, NestedScale, Offset, PlainScale, Scale, WeightParts } from './qtensor/parts.ts'
export { QTensor } from './qtensor/qtensor.ts'
export type { Quantizer, Statistics, WeightSpec } from './qtensor/quantizer.ts'
export { type AutoRoundOptions, autoRound } from './quantize/algorithms/autoRound.ts'
export { type AwqOptions, awq } from './quantize/algorithms/awq.ts'
export { type DistilOptions, distilScales } from './quantize/algorithms/distilScales.ts'
export { type GptaqOptions, gptaq } from './quantize/algorithms/gptaq.ts'
export { type GptqOptions, gptq } from './quantize/algorithms/gptq.ts'
export { type ImatrixAlgorithmOptions, imatrix } from './quantize/algorithms/imatrix.ts'
export type { IntegerWeights } from './quantize/algorithms/integerWeights.ts'
export { type RotateOptions, rotate } from './quantize/algorithms/rotate.ts'
export { type SmoothQuantOptions, smoothQuant } from './quantize/algorithms/smoothQuant.ts'
export type { BitsAndBytesOptions, PythonBitsAndBytesOptions } from './quantize/bitsandbytes.ts'
export { type CalibratedModule, type CalibrateOptions, calibrate } from './quantize/calibrate.ts'
export type {
  CalibratedAlgorithm,
  CalibratedBlock,
  CalibratedLayer,
  CalibratedRun,
  FloatLayer,
} from './quantize/calibrated/algorithm.ts'
export type { Edits } from './quantize/calibrated/edits.ts'
export type { HiddenStates } from './quantize/calibrated/hiddenStates.ts'
export type { CalibratedProgress } from './quantize/calibrated/progress.ts'
export type { CalibratedReport } from './quantize/calibrated/solveStage.ts'
export { codebook, doubleQuant } from './quantize/codebook.ts'
export { dequantize } from './quantize/dequantize.ts'
export {
  type GgufQuantizedType,
  type GgufQuantizerOptions,
  ggufQuantizer,
} from './quantize/ggufQuantizers.ts'
export { type GptaqQuantizerOptions, gptaqQuantizer } from './quantize/gptaqQuantizer.ts'
export {
  type ActOrder,
  type GptqQuantizerOptions,
  gptqQuantizer,
  type ScaleSearch,
} from './quantize/gptqQuantizer.ts'
export { type ChosenScales, groupQuantizer } from './quantize/groupQuantizer.ts'
export type { MagnitudeHistogram } from './quantize/histogram.ts'
export { learnScales } from './quantize/learnScales.ts'
export type { Quantization } from './quantize/methods.ts'
export {
  entropy,
  mse,
  type Observer,
  type ObserverName,
  type PercentileOptions,
  percentile,
} from './quantize/observers.ts'
export type { LayerOverride, LayerOverrides } from './quantize/overrides.ts'
export {
  freeze,
  memoryFootprint,
  type QuantizeOptions,
  quantizationMap,
  quantize,
} from './quantize/quantize.ts'
export { absmax, type HqqOptions, hqq, max, withZeroPoint } from './quantize/quantizers.ts'
export {
  float8DynamicActivationFloat8Weight,
  float8WeightOnly,
  type GroupOptions,
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
export { backward, enableGrad } from './tensor/backward.ts'
export type { CompiledGraph } from './tensor/compiled.ts'
export type { Graph, GraphNode } from './tensor/graph.ts'
export { type Op, op } from './tensor/op.ts'
export * as ops from './tensor/ops/index.ts'
export { keep, scope } from './tensor/scope.ts'
export { noGrad } from './tensor/tape.ts'
export { Tensor } from './tensor/tensor.ts'
