import type { FloatDType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { Linear } from '../nn/linear.ts'
import type { Parameter } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import type { WeightFacts } from '../qtensor/parts.ts'
import type { SavedScales } from './activationScales.ts'
import type { CausalLM } from './causalLM.ts'

/** One parameter of a model whose weights are not read yet: what it will be, and how to get it. */
export interface PlannedParameter {
  /** Its path in the model; tied parameters are planned once. */
  readonly path: string
  readonly shape: Shape
  /** Its dtype or quantized type as saved, for example `float16` or `qint4, groups of 32`. */
  readonly kind: string
  /** Of a quantized one: what its product depends on. */
  readonly weight?: WeightFacts
  /** Bytes that it takes in its file. */
  readonly byteLength: number
  /**
   * Reads it onto the device; `dtype` is what floats become (default: as saved).
   * @throws FormatError if its bytes are not what its place in the model needs
   */
  load(device: Device, dtype?: FloatDType): Promise<Parameter>
}

/** A model with shapes only, and where its parameters come from. */
export interface LoadPlan {
  /** What messages call the checkpoint. */
  readonly name: string
  readonly model: CausalLM
  /** The scheme of its quantized weights, `none` for a float model. */
  readonly scheme: 'none' | 'quanto' | 'gguf'
  readonly parameters: readonly PlannedParameter[]
  /** What of the checkpoint is not sound and not needed, a sentence each. */
  readonly warnings: readonly string[]
  /** Reads the scales of quantized activations as numbers; absent where a checkpoint has none. */
  scales?(): Promise<SavedScales[]>
  /** Reads what belongs to the model besides its parameters: the scales of activations. */
  finish?(device: Device): Promise<void>
  /** Lets go of the files. */
  close(): Promise<void>
}

/** Every parameter of a model with all paths at which it stands: more than one where it is tied. */
export function parameterPaths(model: CausalLM): Map<Parameter, string[]> {
  const paths = new Map<Parameter, string[]>()
  for (const [path, parameter] of model.namedParameters()) {
    const known = paths.get(parameter)
    if (known) known.push(path)
    else paths.set(parameter, [path])
  }
  return paths
}

/** The path of the module that holds the parameter at `path`. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('.'), 0))
}

/**
 * Drops the biases of linear layers that a checkpoint does not have, and says so: they count as 0, as in
 * transformers.
 */
export function dropAbsentBiases(
  model: CausalLM,
  has: (path: string) => boolean,
  name: string,
  warn: (message: string) => void,
): void {
  const absent = [...model.namedModules()].flatMap(([path, module]) => {
    const isLinear = module instanceof Linear || module instanceof QWeightModule
    if (!isLinear || !module.bias || has(`${path}.bias`)) return []
    module.bias = null
    return [`${path}.bias`]
  })
  if (absent.length === 0) return
  const listed = absent.slice(0, 4).join(', ') + (absent.length > 4 ? ` and ${absent.length - 4} more` : '')
  warn(`${name}: must hold every bias that the model has; ${listed} is missing and counts as 0`)
}

/**
 * Says if the tokenizer has tokens that the embedding lacks: text with one of them is refused when it comes.
 */
export function checkVocabulary(
  { tokenizer, config }: CausalLM,
  name: string,
  warn: (message: string) => void,
): void {
  const largest = (tokenizer?.vocabularySize ?? 0) - 1
  if (largest < config.vocabularySize) return
  warn(
    `${name}: token ids must stay below the model's vocabulary (${config.vocabularySize}); the largest is ${largest}, so text with such tokens cannot be used`,
  )
}
