import type { FloatDType } from '../core/dtype.ts'
import type { QType } from '../core/qtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import type { Parameter } from '../nn/module.ts'
import type { SavedScales } from './activationScales.ts'
import type { CausalLM } from './causalLM.ts'

/** One parameter of a model whose weights are not read yet: what it will be, and how to get it. */
export interface PlannedParameter {
  /** Its path in the model; tied parameters are planned once. */
  readonly path: string
  readonly shape: Shape
  /** Its dtype or quantized type as saved, for example `float16` or `qint4, groups of 32`. */
  readonly kind: string
  /** Of a quantized one. */
  readonly qtype?: QType
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
