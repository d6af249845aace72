import { DTypeError } from '../../core/errors.ts'
import type { Observation } from '../../nn/observe.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { largestOf } from './hiddenStates.ts'
import type { LayerInputs } from './layerInputs.ts'
import type { SampleArguments, Stage } from './stage.ts'

/** The first inputs whose statistics hold NaN or an infinity. */
export async function nonFinite(collected: readonly LayerInputs[]): Promise<LayerInputs | null> {
  for (const inputs of collected)
    for (const tensor of inputs.statistics.values())
      if (!(await isSound(scope(() => largestOf(tensor))))) return inputs
  return null
}

/**
 * Where in a stage the first value is made that is not finite, for a pass of one sample.
 * @param x what the stage takes of it
 * @returns null if all are
 */
export async function explain(
  stage: Stage,
  sample: number,
  args: SampleArguments,
  x: Tensor | null,
): Promise<DTypeError | null> {
  const found: { what: string; largest: Tensor }[] = []
  const note = (what: string, value: unknown) => {
    const largest = value instanceof Tensor ? scope(() => largestOf(value)) : null
    if (largest) found.push({ what, largest: keep(largest) })
  }
  const observations: Observation[] = []
  for (const [name, module] of stage.module.namedModules()) {
    const path = [stage.path, name].filter((part) => part !== '').join('.') || 'the model'
    observations.push(
      module.observe({
        ...(module === stage.module && { input: ([first]) => note(`the input of ${path}`, first) }),
        output: (y) => note(`the output of ${path}`, y),
      }),
    )
  }
  try {
    if (x) note(`the input of ${stage.path || 'the layers behind the blocks'}`, x)
    const y = noGrad(() => scope(() => stage.forward(args, x)))
    if (y instanceof Tensor) y.dispose()
  } finally {
    for (const end of observations) end()
  }
  let error: DTypeError | null = null
  for (const { what, largest } of found)
    if (!(await isSound(largest))) {
      error ??= new DTypeError(
        `quantizeCalibrated: activations must be finite; for sample ${sample} ${what} holds NaN or an infinity`,
      )
    }
  return error
}

/** Whether the value is finite; gives it back. */
async function isSound(largest: Tensor | null): Promise<boolean> {
  if (!largest) return true
  return Number.isFinite(await largest.item().finally(() => largest.dispose()))
}
