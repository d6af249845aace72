import { DTypeError } from '../../core/errors.ts'
import { above, wholeNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { Random } from '../../core/random.ts'
import { mseLoss } from '../../nn/losses.ts'
import { LinearLR } from '../../nn/optim/schedules.ts'
import { SGD } from '../../nn/optim/sgd.ts'
import { backward } from '../../tensor/backward.ts'
import { clamp, mul } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { copyTo, type Tensor } from '../../tensor/tensor.ts'
import type { CalibratedAlgorithm, CalibratedBlock } from '../calibrated/algorithm.ts'
import { solved } from '../calibrated/solve.ts'
import { type IntegerWeights, integerKinds, integerWeights } from './integerWeights.ts'
import { isTrainable, type TrainedLayer } from './trainedLayer.ts'
import { type LayerToTrain, withTrainedLayers } from './trainedLayers.ts'

/** What weights become, and how long their rounding trains. */
export interface AutoRoundOptions extends IntegerWeights {
  /** Steps of each block. Default 200. */
  iterations?: number
  /** Steps of what is rounded, in quantization steps; they fall to none. Default 1 / iterations. */
  lr?: number
  /** Steps of scales, in parts of themselves. Default: as `lr`. */
  minmaxLr?: number
  /** Samples of a step. Default 8. */
  batchSize?: number
  /** Chooses the samples of each step. Default 0. */
  seed?: number
}

const optionKinds: OptionKinds<AutoRoundOptions> = {
  ...integerKinds,
  iterations: wholeNumber(1),
  lr: above(0),
  minmaxLr: above(0),
  batchSize: wholeNumber(1),
  seed: wholeNumber(0),
}

/**
 * Finds, block by block, which way each weight is rounded, and its scale: by the signs of the gradients of
 * the squared distance between what the quantized and the float block give. Of all steps the one counts whose
 * loss was least.
 *
 *     v −= lr · sign(∂loss/∂v)                                        v what is rounded, lr falling to 0
 *
 * Source: Cheng et al., "Optimize Weight Rounding via Signed Gradient Descent", 2023.
 */
export function autoRound(options: AutoRoundOptions = {}): CalibratedAlgorithm {
  checkOptions('autoRound', options, optionKinds)
  const { bits, groupSize, symmetric, iterations = 200, batchSize = 8, seed = 0 } = options
  const { lr = 1 / iterations, minmaxLr = lr } = options
  const settings = { iterations, lr, minmaxLr, batchSize, seed }
  return {
    name: 'autoRound',
    settings: { ...settings, bits, groupSize, symmetric },
    options: integerWeights(options),
    async block(block) {
      const layers = layersToTrain(block)
      try {
        const trainable = layers.filter(({ weight }) => isTrainable(weight, true))
        if (trainable.length > 0) await settle(block, trainable, settings)
      } finally {
        for (const { weight } of layers) weight.dispose()
      }
    },
  }
}

/** What a gradient is multiplied by, and then clamped, for its sign; below its inverse it counts less. */
const huge = 1e30

type Settings = Required<Omit<AutoRoundOptions, keyof IntegerWeights>>

type NamedLayer = LayerToTrain & { readonly path: string }

/** The layers of a block, each with the codes of its rounded weight. */
function layersToTrain({ layers }: CalibratedBlock): NamedLayer[] {
  return [...layers.values()].map((layer) => {
    const { path, float, twin } = layer
    return { path, place: float, twin, weight: solved(layer, null), float: float.weight }
  })
}

async function settle(
  block: CalibratedBlock,
  layers: readonly NamedLayer[],
  settings: Settings,
): Promise<void> {
  await withTrainedLayers(block.module, layers, async (trained) => {
    await train(block, trained, settings)
    for (const [i, { path }] of layers.entries()) scope(() => block.settle(path, trained[i].parts()))
  })
}

async function train(
  block: CalibratedBlock,
  trained: readonly TrainedLayer[],
  { iterations, lr, minmaxLr, batchSize, seed }: Settings,
): Promise<void> {
  const codes = trained.flatMap((layer) => layer.codes)
  const scales = trained.flatMap((layer) => layer.steps)
  const optimizer = new SGD([
    { params: codes, lr },
    { params: scales, lr: minmaxLr },
  ])
  const schedule = new LinearLR(optimizer, { startFactor: 1, endFactor: 0, totalIters: iterations })
  const random = new Random(seed)
  const best = new BestValues([...codes, ...scales])
  for (let step = 0; step < iterations; step++) {
    optimizer.zeroGrad()
    let loss = 0
    for (let i = 0; i < Math.min(batchSize, block.samples); i++)
      loss += await addGradients(block, random.uint32() % block.samples)
    if (!Number.isFinite(loss))
      throw new DTypeError(
        `autoRound: the distance of ${block.path || 'the model'} must be finite; in step ${step + 1} it is ${loss}`,
      )
    best.offer(loss)
    scope(() => {
      for (const { grad } of [...codes, ...scales]) if (grad) copyTo(clamp(mul(grad, huge), -1, 1), grad)
      optimizer.step()
    })
    schedule.step()
    block.signal?.throwIfAborted()
  }
  optimizer.zeroGrad()
  best.restore()
}

/** What tensors held when the loss was least. */
class BestValues {
  private readonly tensors: readonly Tensor[]
  private readonly values: readonly Tensor[]
  private loss = Infinity

  constructor(tensors: readonly Tensor[]) {
    this.tensors = tensors
    this.values = tensors.map((tensor) => keep(tensor.clone()))
  }

  /** Notes what the tensors hold, if their loss is the least so far. */
  offer(loss: number): void {
    if (loss >= this.loss) return
    this.loss = loss
    for (const [i, tensor] of this.tensors.entries()) copyTo(tensor, this.values[i])
  }

  restore(): void {
    for (const [i, tensor] of this.tensors.entries()) {
      copyTo(this.values[i], tensor)
      this.values[i].dispose()
    }
  }
}

/** @returns the loss of a sample */
async function addGradients(block: CalibratedBlock, sample: number): Promise<number> {
  const [x, target] = [await block.input(sample), await block.target(sample)]
  const loss = backward(() => mseLoss(block.forward(sample, x), target))
  const value = await loss.item()
  for (const tensor of [x, target, loss]) tensor?.dispose()
  return value
}
