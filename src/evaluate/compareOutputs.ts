import { ShapeError } from '../core/errors.ts'
import { aList, check, either } from '../core/kinds.ts'
import { sameShape, showShape } from '../core/shape.ts'
import { aModule, type Module } from '../nn/module.ts'
import type { Observation } from '../nn/observe.ts'
import { squaredErrors } from '../qtensor/relativeDistance.ts'
import { keep, scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { aTensor, Tensor } from '../tensor/tensor.ts'

/** How far a layer's output of the quantized model lies from the float one's, y. */
export interface OutputDifference {
  /** '' is the model itself. */
  path: string
  /** ‖y − ŷ‖₂ / ‖y‖₂, 0 for none. */
  relativeError: number
  /** 10 · log₁₀(‖y‖₂² / ‖y − ŷ‖₂²) in decibels: signal to noise; Infinity where nothing differs. */
  snr: number
  /** y · ŷ / (‖y‖₂ · ‖ŷ‖₂) */
  cosine: number
}

/** A model that takes one input: a tensor, or what a language model takes, a list of token ids. */
export type ComparedModel = Module & { forward(input: never): unknown }

const anInput = either('be a tensor or a list of token ids', aTensor, aList)

/** Σ (y − ŷ)², Σ y² and Σ ŷ², one value each. */
type Sums = [error: Tensor, norm: Tensor, otherNorm: Tensor]

/**
 * Every layer's output of a quantized model beside the float model's for the same input, in the order in which
 * the layers give them: those within a block before the block, the model last. Errors are those that have come
 * up to there, not those of the layer alone. A layer that runs several times counts with all its outputs;
 * outputs that are no tensor are left out. The float outputs of one pass are held at once, so take an input of
 * some hundred tokens.
 *
 *     for (const { path, snr } of await compareOutputs(float, quantized, ids)) console.log(path, snr)
 *
 * @param input a tensor, or token ids for language models
 * @throws ShapeError if the models have no layer in common, or outputs differ in shape
 */
export async function compareOutputs(
  float: ComparedModel,
  quantized: ComparedModel,
  input: Tensor | readonly number[],
): Promise<OutputDifference[]> {
  check('compareOutputs', 'float', float, aModule)
  check('compareOutputs', 'quantized', quantized, aModule)
  check('compareOutputs', 'input', input, anInput)
  const outputs = new Map<string, Tensor[]>()
  const sums = new Map<string, Sums[]>()
  try {
    run(float, input, (path, y) => append(outputs, path, keep(y)))
    run(quantized, input, (path, y) => {
      const original = outputs.get(path)?.[sums.get(path)?.length ?? 0]
      if (original) append(sums, path, keep(sumsOf(path, original, y)))
    })
    if (sums.size === 0)
      throw new ShapeError('compareOutputs: the models must have layers of the same paths; they have none')
    const differences: OutputDifference[] = []
    for (const [path, calls] of sums) differences.push(differenceOf(path, await total(calls)))
    return differences
  } finally {
    for (const y of [...outputs.values()].flat()) y.dispose()
    for (const sum of [...sums.values()].flat(2)) sum.dispose()
  }
}

/** A forward pass, of which every output that is a tensor is told. */
function run(model: ComparedModel, input: unknown, tell: (path: string, y: Tensor) => void): void {
  const observations: Observation[] = []
  for (const [path, module] of model.namedModules())
    observations.push(
      module.observe({
        output(y) {
          if (y instanceof Tensor) tell(path, y)
        },
      }),
    )
  const { training } = model
  model.eval()
  try {
    noGrad(() => scope(() => void model.forward(input as never)))
  } finally {
    for (const end of observations) end()
    model.train(training)
  }
}

function append<T>(lists: Map<string, T[]>, path: string, value: T): void {
  const list = lists.get(path)
  if (list) list.push(value)
  else lists.set(path, [value])
}

function sumsOf(path: string, original: Tensor, other: Tensor): Sums {
  if (!sameShape(original.shape, other.shape))
    throw new ShapeError(
      `compareOutputs: outputs of ${path || 'the model'} must have one shape; the shapes are ${showShape(original.shape)} and ${showShape(other.shape)}`,
    )
  return scope(() => {
    const [y, quantized] = [original.dequantize(), other.dequantize()]
    return [...squaredErrors(y, quantized), squaredErrors(quantized, quantized)[1]]
  })
}

async function total(calls: readonly Sums[]): Promise<number[]> {
  const totals = [0, 0, 0]
  for (const call of calls)
    for (const [i, sum] of call.entries()) totals[i] += Number((await sum.toNumbers())[0])
  return totals
}

function differenceOf(path: string, [error, norm, otherNorm]: number[]): OutputDifference {
  return {
    path,
    relativeError: error === 0 ? 0 : Math.sqrt(error / norm),
    snr: error === 0 ? Infinity : 10 * Math.log10(norm / error),
    // y · ŷ = (‖y‖² + ‖ŷ‖² − ‖y − ŷ‖²) / 2
    cosine: error === 0 ? 1 : (norm + otherNorm - error) / (2 * Math.sqrt(norm * otherNorm)),
  }
}
