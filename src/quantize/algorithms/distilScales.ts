import { DTypeError, ShapeError } from '../../core/errors.ts'
import { aBoolean, above, oneOf, show, wholeNumber } from '../../core/kinds.ts'
import { several } from '../../core/lists.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { Random } from '../../core/random.ts'
import { klDivLoss, mseLoss } from '../../nn/losses.ts'
import { Adam } from '../../nn/optim/adam.ts'
import { cosine, LambdaLR } from '../../nn/optim/schedules.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { backward } from '../../tensor/backward.ts'
import { logSoftmax, mul } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { CalibratedAlgorithm, CalibratedLayer, CalibratedRun } from '../calibrated/algorithm.ts'
import type { HiddenStates } from '../calibrated/hiddenStates.ts'
import { type IntegerWeights, integerKinds, integerWeights } from './integerWeights.ts'
import { isTrainable, type TrainedLayer } from './trainedLayer.ts'
import { type LayerToTrain, withTrainedLayers } from './trainedLayers.ts'

/** How long scales train, and on what; and what weights become, where no other algorithm says it. */
export interface DistilOptions extends IntegerWeights {
  /** Steps of Adam. Default 200. */
  steps?: number
  /**
   * Seconds after which training ends: steps are then fewer, and the learning rate falls by the clock. Default:
   * none.
   */
  timeLimit?: number
  /** Rows of outputs (tokens) that a step sees, at least. Default 1024. */
  batchTokens?: number
  /** The largest step of scales and shifts, in parts of themselves and of a quantization step. Default 0.01. */
  lr?: number
  /** Whether codes train, too, straight through their rounding. Default false. */
  rounding?: boolean
  /** The largest step of what is rounded, in quantization steps. Default 0.02. */
  roundingLr?: number
  /**
   * What is made small: the divergence of the softmax of outputs from the float model's, for models that give
   * logits, or the squared distance. Default `kl`.
   */
  loss?: 'kl' | 'mse'
  /**
   * Bytes of outputs of the float model that are kept, in memory or in the scratch file: a vocabulary of 50,000
   * takes 200 kB a token. Samples beyond them train nothing. Default 2 GiB.
   */
  maxOutputBytes?: number
  /** Chooses the samples of each step. Default 0. */
  seed?: number
}

const optionKinds: OptionKinds<DistilOptions> = {
  ...integerKinds,
  steps: wholeNumber(1),
  timeLimit: above(0),
  batchTokens: wholeNumber(1),
  lr: above(0),
  rounding: aBoolean,
  roundingLr: above(0),
  loss: oneOf('kl', 'mse'),
  maxOutputBytes: wholeNumber(1),
  seed: wholeNumber(0),
}

/**
 * Trains the scales and shifts of a quantized model, and with `rounding` its codes, so that it gives what the
 * float model gave for the same samples; nothing else is known of them. The learning rate rises for a tenth
 * of the steps at most, and falls along a cosine.
 *
 *     await quantizeCalibrated(model, { algorithm: [gptq({ bits: 2 }), distilScales({ rounding: true })], … })
 *
 * Source: Chen et al., "EfficientQAT", 2024, whose second phase it is; Liu et al., "LLM-QAT", 2023.
 * @throws ShapeError if the model gives no tensor, or no weight is of whole numbers with a float scale
 */
export function distilScales(options: DistilOptions = {}): CalibratedAlgorithm {
  checkOptions('distilScales', options, optionKinds)
  const { steps = 200, batchTokens = 1024, lr = 0.01, rounding = false, roundingLr = 0.02 } = options
  const { bits, groupSize, symmetric, loss = 'kl', seed = 0, timeLimit = Infinity } = options
  const { maxOutputBytes = 2 ** 31 } = options
  const settings = { steps, timeLimit, batchTokens, lr, rounding, roundingLr, loss, seed, maxOutputBytes }
  let outputs: HiddenStates
  /** The float weights, in the order of the layers. */
  let floats: HiddenStates
  let places: Map<string, number>
  /** Samples whose outputs are kept: the first of them. */
  let known = 0
  const keepFloat = async ({ path, float }: CalibratedLayer) => {
    await floats.put(places.get(path) as number, float.weight)
  }
  return {
    name: 'distilScales',
    settings: { ...settings, bits, groupSize, symmetric },
    options: integerWeights(options),
    async prepare(run) {
      outputs = run.createStates()
      floats = run.createStates()
      places = new Map([...run.layers.keys()].map((path, place) => [path, place]))
      if (rounding) for (const layer of run.layers.values()) await keepFloat(layer)
      known = await keepOutputs(run, outputs, maxOutputBytes)
    },
    ...(rounding && {
      // Others may have changed them, as awq does.
      async block({ layers }) {
        for (const layer of layers.values()) await keepFloat(layer)
      },
    }),
    async finish(run) {
      const layers = layersToTrain(run, rounding)
      const begun: LayerToTrain[] = []
      for (const layer of layers)
        begun.push({ ...layer, float: await floats.get(places.get(layer.path) as number) })
      await withTrainedLayers(run.model, begun, async (trained) => {
        for (const { float } of begun) float?.dispose()
        await train(run, trained, outputs, known, settings)
        for (const [i, { twin, weight }] of layers.entries()) {
          twin.weight = QTensor.fromParts(scope(() => trained[i].parts())).keep()
          weight.dispose()
        }
      })
      for (const states of [floats, outputs]) states.dispose()
    },
  }
}

/** Keeps what the float model gives of samples, as many as there is room for. @returns how many these are */
async function keepOutputs(run: CalibratedRun, outputs: HiddenStates, most: number): Promise<number> {
  let bytes = 0
  for (let sample = 0; sample < run.samples; sample++) {
    const y = noGrad(() => scope(() => run.forward(sample)))
    if (!(y instanceof Tensor) || !(await outputs.put(sample, y)))
      throw new ShapeError(
        `distilScales: the model must give a tensor of finite numbers, its logits; of sample ${sample} it gives ${show(y)}`,
      )
    bytes += y.byteLength
    y.dispose()
    run.signal?.throwIfAborted()
    if (bytes < most || sample + 1 === run.samples) continue
    run.warn(
      `distilScales: outputs of ${sample + 1} of ${run.samples} samples fill maxOutputBytes (${most}); the others train nothing`,
    )
    return sample + 1
  }
  return run.samples
}

type Settings = Required<Omit<DistilOptions, keyof IntegerWeights>>

/** The layers whose weights can train. @throws ShapeError if there are none */
function layersToTrain(
  { layers, warn }: CalibratedRun,
  rounding: boolean,
): (LayerToTrain & { readonly path: string })[] {
  const found: (LayerToTrain & { readonly path: string })[] = []
  const others: string[] = []
  for (const [path, { twin }] of layers) {
    const { weight } = twin
    if (!(weight instanceof QTensor) || !isTrainable(weight, rounding)) others.push(path)
    else found.push({ path, place: twin, twin, weight, float: null })
  }
  const must = 'weights must have a float scale for each group of columns'
  if (found.length === 0) throw new ShapeError(`distilScales: ${must}; those of ${others[0]} do not`)
  if (others.length > 0) warn(`distilScales: ${must}; those of ${several(others)} stay as they are`)
  return found
}

async function train(
  run: CalibratedRun,
  trained: readonly TrainedLayer[],
  outputs: HiddenStates,
  samples: number,
  { steps, timeLimit, batchTokens, lr, roundingLr, loss, seed }: Settings,
): Promise<void> {
  const codes = trained.flatMap((layer) => layer.codes)
  const optimizer = new Adam([
    { params: trained.flatMap((layer) => layer.steps), lr },
    ...(codes.length > 0 ? [{ params: codes, lr: roundingLr }] : []),
  ])
  const start = performance.now()
  // What is done of the training, by steps or by the clock.
  const done = (step: number) => Math.max(step / steps, (performance.now() - start) / 1000 / timeLimit)
  const schedule = new LambdaLR(
    optimizer,
    (step) => warmth(step, steps) * cosine(1, 0, Math.min(1, done(step))),
  )
  const nextSample = shuffled(samples, new Random(seed))
  for (let step = 0; done(step) < 1; step++) {
    optimizer.zeroGrad()
    let last: Tensor | null = null
    for (let tokens = 0; tokens < batchTokens; ) {
      const sample = nextSample()
      const target = (await outputs.get(sample)) as Tensor
      const rows = target.numel / target.size(-1)
      last?.dispose()
      last = backward(() => mul(lossOf(loss, run.forward(sample) as Tensor, target), rows / batchTokens))
      target.dispose()
      tokens += rows
    }
    scope(() => optimizer.step())
    schedule.step()
    run.tell(done(step + 1))
    await checkLoss(last, step)
    run.signal?.throwIfAborted()
  }
  optimizer.zeroGrad()
}

function lossOf(kind: 'kl' | 'mse', y: Tensor, target: Tensor): Tensor {
  if (kind === 'mse') return mseLoss(y, target)
  const rows = [target.numel / target.size(-1), target.size(-1)]
  const logs = (x: Tensor) => logSoftmax(x.view(rows))
  return klDivLoss(logs(y), logs(target), { reduction: 'batchmean', logTarget: true })
}

/** @throws DTypeError unless the loss is finite; it is no longer needed. */
async function checkLoss(loss: Tensor | null, step: number): Promise<void> {
  const value = loss ? await loss.item() : 0
  loss?.dispose()
  if (Number.isFinite(value)) return
  throw new DTypeError(
    `distilScales: the loss must be finite; in step ${step + 1} it is ${value}, so choose a smaller lr`,
  )
}

/** Rises to 1 within the first tenth of the steps, at most 20. */
function warmth(step: number, steps: number): number {
  return Math.min(1, (step + 1) / Math.min(20, Math.ceil(steps / 10)))
}

/** Gives samples in an order of chance, each once before any comes again. */
function shuffled(samples: number, random: Random): () => number {
  let left: number[] = []
  return () => {
    if (left.length === 0) left = Array.from({ length: samples }, (_, i) => i)
    return left.splice(random.uint32() % left.length, 1)[0]
  }
}
