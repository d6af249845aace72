import type { PlannedParameter } from '../checkpoints/plan.ts'
import { aFloatDType, type DType, type FloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { Shape } from '../core/shape.ts'
import { aDevice, type Device } from '../devices/device.ts'
import { temporaryDevice } from '../devices/open.ts'
import type { Parameter } from '../nn/module.ts'
import { type ModelPlace, planCausalLM } from './load.ts'

/** A tensor of a checkpoint, by its path in the model. */
export interface CheckpointTensor {
  readonly path: string
  /** The other paths at which a tied one stands. */
  readonly otherPaths: readonly string[]
  readonly shape: Shape
  /** Its dtype, or its quantized type as saved: `qint4, groups of 32`. */
  readonly kind: string
  /** Its dtype, or that of the floats that a quantized one stands for. */
  readonly dtype: DType
  /** Bytes that it takes in its file. */
  readonly byteLength: number
}

/** How a tensor is read. */
export interface ReadTensorOptions {
  /** Default: the one of `openDevice()` where it is open, else one of the checkpoint's own. */
  device?: Device
  /** What floats become; default: as saved. */
  dtype?: FloatDType
}

const optionKinds: OptionKinds<ReadTensorOptions> = { device: aDevice, dtype: aFloatDType }

/**
 * A checkpoint of a language model of which nothing but headers is read: its settings, its tensors, and each
 * of them when it is asked for.
 */
export class OpenCheckpoint {
  /** What messages call it. */
  readonly name: string
  /** The scheme of its quantized weights; `none` of floats. */
  readonly scheme: string
  /** config.json, or what a GGUF file's metadata say in its words. */
  readonly config: Readonly<Record<string, unknown>>
  readonly tensors: readonly CheckpointTensor[]
  /** What of it is not sound and not needed, a sentence each. */
  readonly warnings: readonly string[]
  private readonly parameters: ReadonlyMap<string, PlannedParameter>
  private readonly closeFile: () => Promise<void>
  private temporary: ReturnType<typeof temporaryDevice> | null = null

  /** @param plan as `planCausalLM` gives it; closed with the checkpoint */
  constructor({
    name,
    scheme,
    model,
    parameters,
    warnings,
    close,
  }: Awaited<ReturnType<typeof planCausalLM>>) {
    this.name = name
    this.scheme = scheme
    this.config = model.checkpoint?.config ?? {}
    this.warnings = warnings
    this.tensors = parameters.map(({ path, paths, shape, kind, dtype, byteLength }) => {
      return { path, otherPaths: paths.slice(1), shape, kind, dtype, byteLength }
    })
    this.parameters = new Map(parameters.flatMap((each) => each.paths.map((path) => [path, each] as const)))
    this.closeFile = close
  }

  /**
   * One tensor: a `QTensor` where it is quantized, else a `Tensor`. It is the caller's to dispose.
   * @throws FormatError if there is none at the path, or its bytes are not sound
   */
  async read(path: string, options: ReadTensorOptions = {}): Promise<Parameter> {
    checkOptions('read', options, optionKinds)
    const planned = this.parameters.get(path)
    if (planned) return planned.load(options.device ?? this.ownDevice(), options.dtype)
    const near = nearest(path, [...this.parameters.keys()]).join(', ')
    throw new FormatError(
      `${this.name}: there must be a tensor at ${JSON.stringify(path)}; the nearest are ${near}`,
    )
  }

  private ownDevice(): Device {
    this.temporary ??= temporaryDevice()
    return this.temporary.device
  }

  /** Lets go of the files, and of a device of its own, with the tensors that lie there. */
  async close(): Promise<void> {
    await this.closeFile()
    await this.temporary?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * Opens a checkpoint of a language model without reading its weights, wherever it lies: by path or URL, over
 * HTTP by ranges, or the files that a user dropped on a page.
 *
 *     const checkpoint = await openCheckpoint([...event.dataTransfer.files])
 *     console.log(checkpoint.scheme, checkpoint.tensors)
 *     const weight = await checkpoint.read('model.layers.0.mlp.up_proj.weight')
 *
 * @throws FormatError if a file is missing, broken, or does not fit the others
 */
export async function openCheckpoint(place: ModelPlace): Promise<OpenCheckpoint> {
  return new OpenCheckpoint(await planCausalLM(place))
}
