import { readFileSync } from 'node:fs'
import { after } from 'node:test'
import * as lb from '../src/index.ts'
import { algorithmCalls } from './algorithmCalls.ts'
import { type Call, call, unset } from './optionCall.ts'

/*
 * A call of every public function that takes options, with all the options that it has.
 */

export const device = lb.openDevice('cpu', { threads: 1 })
after(() => device.close())

class Net extends lb.Module {
  fc = new lb.Linear(32, 32)
  forward(x: lb.Tensor): lb.Tensor {
    return this.fc.forward(x)
  }
}
export const net = lb.initialize(new Net(), device)
const story = await lb.loadCausalLM('models/stories260K', { device })
const numbers = (...shape: number[]) => lb.Tensor.full(device, shape, 1)
export const x = numbers(2, 2)
const image = numbers(1, 1, 4, 4)
const kernel = numbers(1, 1, 2, 2)
const heads = lb.initialize(new lb.MultiheadAttention(4, 2), device)
const sgd = () => new lb.SGD(net.parameters(), { lr: 0.1, momentum: 0.9 })
const weight = numbers(32, 32)
const scales = { zeroPoints: undefined, symmetric: undefined, scaleDtype: undefined, blockRows: undefined }
const quantized = { ...scales, qtype: lb.qint8, groupSize: null, quantizer: lb.absmax }

const quantizeOptions = {
  ...scales,
  weights: 'int8',
  ...unset(
    'activations',
    'include',
    'exclude',
    'algorithm',
    'groupSize',
    'computeDtype',
    'outlierThreshold',
    'layers',
    'overrides',
    'strict',
  ),
}
const sizes = { stride: undefined, padding: undefined, dilation: undefined, groups: undefined }
const pooling = { stride: undefined, padding: undefined, ceilMode: undefined }
const generation = {
  ...unset('temperature', 'topK', 'topP', 'minP', 'seed', 'logprobs', 'topLogprobs'),
  ...unset('repetitionPenalty', 'frequencyPenalty', 'presencePenalty', 'noRepeatNgramSize'),
  ...unset('maxNewTokens', 'stopAtEos', 'stopStrings', 'stopTokenIds', 'computeDtype', 'kv', 'signal'),
  parseSpecialTokens: undefined,
}
const hi = [{ role: 'user', content: 'hi' }]
const chatTokenizer = await lb.Tokenizer.fromJson(
  JSON.parse(readFileSync('models/stories260K/tokenizer.json', 'utf8')),
  { chat_template: '{{ messages[0].content }}' },
)
const chatOptions = {
  ...unset('template', 'tools', 'documents', 'addGenerationPrompt', 'continueFinalMessage', 'variables'),
}
const normalization = { eps: undefined, momentum: undefined, affine: undefined, trackRunningStats: undefined }
const adam = { lr: undefined, betas: undefined, eps: undefined, weightDecay: undefined }
const classes = { reduction: undefined, ignoreIndex: undefined }
const loading = { device: undefined, dtype: undefined, strict: undefined }
const memory = () => lb.memoryFolder()

export const calls: Record<string, Call> = {
  openDevice: call((o: lb.DeviceOptions) => lb.openDevice('cpu', o), { threads: undefined }),
  bench: call((o: lb.BenchOptions) => lb.bench(story, o), {
    ...unset('batchSize', 'promptTokens', 'newTokens', 'runs', 'computeDtype', 'kv', 'signal'),
  }),
  benchmark: call((o: lb.BenchmarkOptions) => lb.benchmark(net, [numbers(1, 32)], o), {
    ...unset('runs', 'warmup', 'signal'),
  }),
  perplexity: call((o: lb.PerplexityOptions) => lb.perplexity(story, [1, 2], o), {
    ...unset('context', 'stride', 'definition', 'baseline', 'computeDtype', 'kv', 'signal', 'onProgress'),
  }),
  collectImatrix: call((o: lb.ImatrixOptions) => lb.collectImatrix(story, [[1, 2]], o), {
    ...unset('datasets', 'signal', 'onProgress'),
  }),
  evaluateTask: call((o: lb.TaskOptions) => lb.evaluateTask(story, 'lambada', [{ text: 'a b' }], o), {
    ...unset('limit', 'computeDtype', 'kv', 'signal', 'onProgress'),
  }),
  weightErrors: call((o: NonNullable<Parameters<typeof lb.weightErrors>[1]>) => lb.weightErrors(net, o), {
    ...unset('signal', 'onProgress'),
  }),
  generate: call((o: lb.GenerateOptions) => lb.generate(story, 'x', o), {
    ...generation,
    cache: undefined,
    onText: undefined,
  }),
  generateTokens: call((o: lb.StreamOptions) => lb.generateTokens(story, [1], o).next(), {
    ...generation,
    cache: undefined,
  }),
  generateBatch: call((o: lb.BatchOptions) => lb.generateBatch(story, ['x'], o), {
    ...generation,
    ...unset('batchSize', 'onToken'),
  }),
  stream: call((o: lb.StreamOptions) => lb.stream(story, [1], o).next(), { ...generation, cache: undefined }),
  loadCausalLM: call((o: lb.LoadOptions) => lb.loadCausalLM('models/stories260K', o), {
    ...unset('device', 'dtype', 'dequantize', 'computeDtype'),
    ...unset('quantization', 'signal', 'onWarning', 'onProgress', 'onDownload'),
    ...unset('placement', 'maxMemory', 'offloadFolder', 'attnImplementation'),
    ...unset('prepareTokenizer', 'doFuse', 'fuseMaxSeqLen'),
  }),
  fuse: call((o: lb.FuseOptions) => lb.fuse(story, o), unset('fuseMaxSeqLen', 'mapping')),
  'fuse, mapping': call((o: lb.FuseMapping) => lb.fuse(story, { mapping: o }), unset('attention', 'mlp')),
  'loadCausalLM, quantization': call(
    (o: lb.QuantizeOptions) =>
      lb.loadCausalLM('models/stories260K', { quantization: { method: 'quanto', ...o } }),
    quantizeOptions,
  ),
  load: call((o: lb.LoadModuleOptions) => lb.load(new Net(), memory(), o), {
    ...loading,
    onWarning: undefined,
  }),
  loadStateDict: call((o: lb.LoadStateOptions) => lb.loadStateDict(new Net(), new Map(), o), loading),
  requantize: call((o: lb.LoadStateOptions) => lb.requantize(new Net(), new Map(), {}, o), loading),
  save: call((o: lb.SaveOptions) => lb.save(net, memory(), o), {
    ...unset('overwrite', 'signal', 'unfrozen', 'format', 'maxShardBytes', 'onWarning', 'onProgress'),
  }),
  'CausalLM.forward': call((o: lb.ForwardOptions) => story.forward([1], o), {
    ...unset('cache', 'position', 'lastOnly'),
  }),
  loadCache: call((o: lb.LoadCacheOptions) => lb.loadCache(story, 'nowhere.safetensors', o), {
    capacity: undefined,
  }),
  requiredMemory: call((o: lb.MemoryOptions) => lb.requiredMemory(story.savedConfig(), o), {
    ...unset('weights', 'dtype', 'kv', 'context', 'batch'),
  }),
  'CausalLM.createCache': call((o: lb.CacheOptions) => story.createCache(4, o), {
    ...unset('kv', 'batch', 'residual'),
  }),
  'ops.cacheWrite': call((o: { ring?: boolean }) => lb.ops.cacheWrite(image, numbers(1, 4, 1, 4), 0, o), {
    ring: undefined,
  }),
  'Tokenizer.encode': call((o: lb.EncodeOptions) => story.tokenizer?.encode('x', o), {
    ...unset('addSpecialTokens', 'parseSpecialTokens'),
  }),
  'Tokenizer.decode': call((o: lb.DecodeOptions) => story.tokenizer?.decode([1], o), {
    skipSpecialTokens: undefined,
  }),
  'Tokenizer.applyChatTemplate': call(
    (o: lb.ChatTemplateOptions) => chatTokenizer.applyChatTemplate(hi, o),
    chatOptions,
  ),
  'Tokenizer.encodeChat': call((o: lb.ChatTemplateOptions) => chatTokenizer.encodeChat(hi, o), chatOptions),
  convert: call((o: lb.ConvertOptions) => lb.convert('models/stories260K', memory(), o), {
    ...{ to: 'quanto', weights: undefined, groupSize: undefined, exactOnly: undefined, include: undefined },
    ...unset('exclude', 'imatrix', 'dtype', 'device', 'overwrite', 'signal'),
    ...unset('onPlan', 'onWarning', 'onProgress'),
  }),
  verify: call((o: lb.VerifyOptions) => lb.verify('models/stories260K', o), {
    ...unset('against', 'device', 'signal', 'onProgress'),
  }),
  quantize: call(
    (o: lb.QuantizeOptions) => lb.quantize(lb.initialize(new Net(), device), o),
    quantizeOptions,
  ),
  quantizeByName: call(
    (o: lb.QuantizeOptions) => lb.quantizeByName(lb.initialize(new Net(), device), { fc: o }),
    quantizeOptions,
  ),
  calibrate: call((o: lb.CalibrateOptions) => lb.calibrate(net, () => {}, o), {
    ...unset('momentum', 'inputMomentum', 'observer', 'streamline', 'mirror', 'debug'),
  }),
  quantizeCalibrated: call(
    (o: lb.CalibratedOptions) => lb.quantizeCalibrated(lb.initialize(new Net(), device), o),
    {
      algorithm: { name: 'rounding', options: { weights: 'int8' } },
      data: [lb.Tensor.full(device, [1, 32], 1)],
      ...unset('include', 'exclude', 'layers', 'overrides', 'blocks'),
      ...unset('scratch', 'resume', 'signal', 'onProgress', 'onWarning'),
      ...unset('tokenizer', 'samples', 'length', 'seed', 'packing'),
    },
  ),
  chooseBits: call((o: lb.ChooseBitsOptions) => lb.chooseBits(lb.initialize(new Net(), device), o), {
    algorithm: { name: 'rounding', options: { weights: 'int4' } },
    data: [lb.Tensor.full(device, [1, 32], 1)],
    targetBits: 5,
    ...unset('targetSize', 'maxKl', 'candidates', 'klSamples', 'include', 'exclude', 'layers', 'overrides'),
    ...unset('signal', 'onProgress', 'tokenizer', 'samples', 'length', 'seed', 'packing'),
  }),
  calibrationData: call((o: lb.CalibrationDataOptions) => lb.calibrationData([[1, 2]], o), {
    length: 2,
    ...unset('tokenizer', 'samples', 'seed', 'packing', 'signal', 'onDownload'),
  }),
  ...algorithmCalls,
  percentile: call((o: { percent?: number }) => lb.percentile(o), { percent: undefined }),
  ggufQuantizer: call((o: lb.GgufQuantizerOptions) => lb.ggufQuantizer('Q4_0', o), { importance: undefined }),
  hqq: call((o: lb.HqqOptions) => lb.hqq(o), {
    ...unset('norm', 'beta', 'kappa', 'iterations', 'axis', 'mirror'),
  }),
  int4WeightOnly: call((o: { groupSize?: number | null }) => lb.int4WeightOnly(o), { groupSize: undefined }),
  int8WeightOnly: call((o: { groupSize?: number | null }) => lb.int8WeightOnly(o), { groupSize: undefined }),
  intxWeightOnly: call((o: lb.IntxOptions) => lb.intxWeightOnly(o), {
    ...unset('weightDtype', 'groupSize', 'mapping'),
  }),
  int8DynamicActivationIntxWeight: call((o: lb.IntxOptions) => lb.int8DynamicActivationIntxWeight(o), {
    ...unset('weightDtype', 'groupSize', 'mapping'),
  }),
  int8DynamicActivationInt4Weight: call(
    (o: { groupSize?: number | null }) => lb.int8DynamicActivationInt4Weight(o),
    {
      groupSize: undefined,
    },
  ),
  int8DynamicActivationInt8Weight: call(
    (o: Record<string, never>) => lb.int8DynamicActivationInt8Weight(o),
    {},
  ),
  float8WeightOnly: call((o: Record<string, never>) => lb.float8WeightOnly(o), {}),
  float8DynamicActivationFloat8Weight: call(
    (o: Record<string, never>) => lb.float8DynamicActivationFloat8Weight(o),
    {},
  ),
  initialize: call((o: { seed?: number }) => lb.initialize(new Net(), device, o), { seed: undefined }),
  Linear: call((o: lb.LinearOptions) => new lb.Linear(2, 2, o), { bias: undefined, dtype: undefined }),
  Embedding: call((o: lb.EmbeddingOptions) => new lb.Embedding(2, 2, o), { dtype: undefined }),
  Conv1D: call((o: lb.EmbeddingOptions) => new lb.Conv1D(2, 2, o), { dtype: undefined }),
  RMSNorm: call((o: lb.RMSNormOptions) => new lb.RMSNorm(2, 1e-5, o), { ...unset('dtype', 'unitOffset') }),
  LayerNorm: call((o: lb.LayerNormOptions) => new lb.LayerNorm(2, o), {
    ...unset('eps', 'elementwiseAffine', 'bias', 'dtype'),
  }),
  GroupNorm: call((o: lb.GroupNormOptions) => new lb.GroupNorm(1, 2, o), {
    ...unset('eps', 'affine'),
  }),
  BatchNorm1d: call((o: lb.BatchNormOptions) => new lb.BatchNorm1d(2, o), normalization),
  BatchNorm2d: call((o: lb.BatchNormOptions) => new lb.BatchNorm2d(2, o), normalization),
  GELU: call((o: lb.GELUOptions) => new lb.GELU(o), { approximate: undefined }),
  MultiheadAttention: call((o: lb.MultiheadAttentionOptions) => new lb.MultiheadAttention(4, 2, o), {
    ...unset('bias', 'batchFirst'),
  }),
  Conv1d: call((o: lb.ForwardConvolutionOptions) => new lb.Conv1d(2, 2, 1, o), {
    ...sizes,
    ...unset('bias', 'paddingMode'),
  }),
  Conv2d: call((o: lb.ForwardConvolutionOptions) => new lb.Conv2d(2, 2, 1, o), {
    ...sizes,
    ...unset('bias', 'paddingMode'),
  }),
  ConvTranspose1d: call((o: lb.ConvTransposeLayerOptions) => new lb.ConvTranspose1d(2, 2, 1, o), {
    ...sizes,
    ...unset('bias', 'outputPadding'),
  }),
  ConvTranspose2d: call((o: lb.ConvTransposeLayerOptions) => new lb.ConvTranspose2d(2, 2, 1, o), {
    ...sizes,
    ...unset('bias', 'outputPadding'),
  }),
  MaxPool2d: call((o: lb.ops.MaxPoolOptions) => new lb.MaxPool2d(2, o), { ...pooling, dilation: undefined }),
  AvgPool2d: call((o: lb.ops.AvgPoolOptions) => new lb.AvgPool2d(2, o), {
    ...pooling,
    ...unset('countIncludePad', 'divisorOverride'),
  }),
  QLinear: call((o: lb.WeightQuantization) => new lb.QLinear(new lb.Linear(32, 32), o), quantized),
  registerQuantizedModule: call((o: lb.Twin) => lb.registerQuantizedModule(Net, o), {
    make: () => null,
    onRequest: undefined,
  }),
  crossEntropyLoss: call((o: lb.ClassLossOptions) => lb.crossEntropyLoss(x, [0, 1], o), {
    ...classes,
    labelSmoothing: undefined,
  }),
  nllLoss: call((o: Omit<lb.ClassLossOptions, 'labelSmoothing'>) => lb.nllLoss(x, [0, 1], o), classes),
  mseLoss: call((o: { reduction?: lb.Reduction }) => lb.mseLoss(x, x, o), { reduction: undefined }),
  l1Loss: call((o: { reduction?: lb.Reduction }) => lb.l1Loss(x, x, o), { reduction: undefined }),
  klDivLoss: call((o: NonNullable<Parameters<typeof lb.klDivLoss>[2]>) => lb.klDivLoss(x, x, o), {
    ...unset('reduction', 'logTarget'),
  }),
  SGD: call((o: Partial<lb.SGDSettings>) => new lb.SGD([weight], o), {
    ...unset('lr', 'momentum', 'dampening', 'nesterov', 'weightDecay'),
  }),
  'SGD, a group': call((o: Partial<lb.SGDSettings>) => new lb.SGD([{ params: [weight], ...o }]), {
    lr: 0.1,
    momentum: 0,
    dampening: 0,
    nesterov: false,
    weightDecay: 0,
  }),
  Adam: call((o: Partial<lb.AdamSettings>) => new lb.Adam([weight], o), adam),
  AdamW: call((o: Partial<lb.AdamSettings>) => new lb.AdamW([weight], o), adam),
  Adadelta: call((o: Partial<lb.AdadeltaSettings>) => new lb.Adadelta([weight], o), {
    ...unset('lr', 'rho', 'eps', 'weightDecay'),
  }),
  clipGradNorm: call((o: { normType?: 2 | typeof Infinity }) => lb.clipGradNorm(net.parameters(), 1, o), {
    normType: undefined,
  }),
  StepLR: call((o: { stepSize: number; gamma?: number }) => new lb.StepLR(sgd(), o), {
    stepSize: 1,
    gamma: undefined,
  }),
  MultiStepLR: call((o: { milestones: number[]; gamma?: number }) => new lb.MultiStepLR(sgd(), o), {
    milestones: [1],
    gamma: undefined,
  }),
  ExponentialLR: call((o: { gamma: number }) => new lb.ExponentialLR(sgd(), o), { gamma: 0.5 }),
  LinearLR: call(
    (o: NonNullable<ConstructorParameters<typeof lb.LinearLR>[1]>) => new lb.LinearLR(sgd(), o),
    { startFactor: undefined, endFactor: undefined, totalIters: undefined },
  ),
  CosineAnnealingLR: call((o: { tMax: number; etaMin?: number }) => new lb.CosineAnnealingLR(sgd(), o), {
    tMax: 2,
    etaMin: undefined,
  }),
  OneCycleLR: call((o: lb.OneCycleOptions) => new lb.OneCycleLR(sgd(), o), {
    maxLr: 0.1,
    totalSteps: 4,
    ...unset(
      'pctStart',
      'annealStrategy',
      'cycleMomentum',
      'baseMomentum',
      'maxMomentum',
      'divFactor',
      'finalDivFactor',
    ),
  }),
  DataLoader: call(
    (o: lb.LoaderOptions<number, number[]>) => new lb.DataLoader({ length: 2, get: (i) => i }, o),
    {
      ...unset('batchSize', 'shuffle', 'seed', 'dropLast'),
      collate: (samples: number[]) => samples,
    },
  ),
  trainEpoch: call((o: lb.TrainOptions<lb.Tensor>) => lb.trainEpoch(net, [weight], o), {
    optimizer: sgd(),
    loss: () => lb.ops.sum(net.forward(weight)),
    ...unset('schedule', 'clipNorm', 'detectAnomaly', 'checkEvery', 'onProgress'),
  }),
  'transforms.randomCrop': call((o: { padding?: number; seed?: number }) => lb.transforms.randomCrop(2, o), {
    ...unset('padding', 'seed'),
  }),
  'transforms.randomHorizontalFlip': call(
    (o: { p?: number; seed?: number }) => lb.transforms.randomHorizontalFlip(o),
    { p: undefined, seed: undefined },
  ),
  'ops.conv2d': call((o: lb.ops.ConvOptions) => lb.ops.conv2d(image, kernel, null, o), sizes),
  'ops.convTranspose2d': call(
    (o: lb.ops.ConvTransposeOptions) => lb.ops.convTranspose2d(image, kernel, null, o),
    {
      ...sizes,
      outputPadding: undefined,
    },
  ),
  'ops.conv1d': call(
    (o: Record<keyof typeof sizes, number>) => lb.ops.conv1d(numbers(1, 1, 4), numbers(1, 1, 2), null, o),
    sizes,
  ),
  'ops.convTranspose1d': call(
    (o: Record<keyof typeof sizes | 'outputPadding', number>) =>
      lb.ops.convTranspose1d(numbers(1, 1, 4), numbers(1, 1, 2), null, o),
    { ...sizes, outputPadding: undefined },
  ),
  'ops.maxPool2d': call((o: lb.ops.MaxPoolOptions) => lb.ops.maxPool2d(image, 2, o), {
    ...pooling,
    dilation: undefined,
  }),
  'ops.avgPool2d': call((o: lb.ops.AvgPoolOptions) => lb.ops.avgPool2d(image, 2, o), {
    ...pooling,
    ...unset('countIncludePad', 'divisorOverride'),
  }),
  'ops.batchNorm': call(
    (o: NonNullable<Parameters<typeof lb.ops.batchNorm>[3]>) => lb.ops.batchNorm(x, null, null, o),
    { epsilon: undefined, momentum: undefined, running: undefined },
  ),
  'ops.nll': call(
    (o: NonNullable<Parameters<typeof lb.ops.nll>[2]>) =>
      lb.ops.nll(x, lb.Tensor.fromArray(device, Int32Array.of(0, 1)), o),
    { ignoreIndex: undefined, labelSmoothing: undefined },
  ),
  'ops.fakeQuantize': call((o: lb.ops.FakeQuantizeOptions) => lb.ops.fakeQuantize(x, numbers(), o), {
    qmin: -8,
    qmax: 7,
    ...unset('zeroPoint', 'gradFactor'),
  }),
  'ops.scaledDotProductAttention': call(
    (o: NonNullable<Parameters<typeof lb.ops.scaledDotProductAttention>[3]>) =>
      lb.ops.scaledDotProductAttention(image, image, image, o),
    { isCausal: undefined, attnMask: undefined, scale: undefined },
  ),
  'ops.attention': call((o: lb.ops.AttentionOptions) => lb.ops.attention(image, image, image, o), {
    ...unset('mask', 'position', 'window', 'ranges'),
    ...unset('scale', 'softcap', 'bias', 'sinks'),
  }),
  'ops.rope': call((o: lb.ops.RopeOptions) => lb.ops.rope(image, numbers(4, 2), numbers(4, 2), 0, o), {
    ...unset('interleaved', 'rotaryDim'),
  }),
  'MultiheadAttention.forward': call(
    (o: lb.AttentionMasks) => heads.forward(numbers(3, 1, 4), undefined, undefined, o),
    { isCausal: undefined, attnMask: undefined, keyPaddingMask: undefined },
  ),
}
