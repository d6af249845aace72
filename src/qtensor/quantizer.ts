import { aFloatDType, type FloatDType } from '../core/dtype.ts'
import { aBoolean, isObject, type Kind, orNull, wholeNumber } from '../core/kinds.ts'
import type { OptionKinds } from '../core/options.ts'
import type { QType } from '../core/qtype.ts'
import type { Shape } from '../core/shape.ts'
import { keep } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { ComputeDType } from './computeDtype.ts'
import { type Block, matrixShape, type WeightParts } from './parts.ts'

/** What scales and offsets are to be; where one is absent, as the quantizer has them. */
export interface ScaleOptions {
  /** Integer zero points, in place of shifts where the type is unsigned, and of none where it is signed. */
  readonly zeroPoints?: boolean
  /** Ranges from −m to m, so that the zero point is the middle of the codes; of zero points alone. */
  readonly symmetric?: boolean
  /**
   * The dtype of scales and shifts; they are chosen in float32 then, and so is what the weight stands for.
   */
  readonly scaleDtype?: FloatDType
  /** Rows that share a scale, over the columns of a group: tiles; null: all rows. Default 1. */
  readonly blockRows?: number | null
}

/** What each of them may be. */
export const scaleKinds: OptionKinds<ScaleOptions> = {
  zeroPoints: aBoolean,
  symmetric: aBoolean,
  scaleDtype: aFloatDType,
  blockRows: orNull(wholeNumber(1)),
}

/** How a weight is to be quantized, whatever its shape. */
export interface WeightRecipe extends ScaleOptions {
  readonly qtype: QType
  /** Columns that share a scale; null: the row. */
  readonly groupSize: number | null
}

/**
 * What a weight is to become: the type of its codes, which weights share a scale, and what scales are to be.
 */
export interface WeightSpec extends Omit<ScaleOptions, 'blockRows'> {
  readonly type: QType
  readonly block: Block
}

/** Groups of so many columns, or whole rows, of a weight of this shape. */
export function groupSpec(type: QType, groupSize: number | null, shape: Shape): WeightSpec {
  return { type, block: { kind: 'group', size: groupSize ?? matrixShape(shape)[1] } }
}

/** What a weight of this shape is to become. */
export function weightSpec(recipe: WeightRecipe, shape: Shape): WeightSpec {
  const { qtype, groupSize, zeroPoints, symmetric, scaleDtype, blockRows = 1 } = recipe
  const [N, K] = matrixShape(shape)
  const spec = { ...groupSpec(qtype, groupSize, shape), zeroPoints, symmetric, scaleDtype }
  if (blockRows === 1) return spec
  return { ...spec, block: { kind: 'tile', rows: blockRows ?? N, columns: groupSize ?? K } }
}

/**
 * Chooses codes, scales and offsets of a weight. `absmax`, `max` and `hqq` are quanto's, those of the recipes
 * torchao's; users may pass their own. One that needs to know what its layer multiplies collects it while
 * `calibrate` passes batches through the model.
 */
export interface Quantizer {
  readonly name: string
  /** The types that it makes; default: it refuses others when it solves. */
  readonly types?: readonly QType[]
  /** In which precision products with its weights are computed, unless another is asked for. */
  readonly computeDtype?: ComputeDType
  /** What scaled codes are divided by; its scales are float32 then. Default: they are not. */
  readonly divisor?: number
  /**
   * What its scales are, where they are not floats: powers of two of one byte, or float8 that one value
   * divides; the weights stand for bfloat16 then.
   */
  readonly scales?: 'exponents' | 'divided'
  /** What its offsets are, where they are neither what the type has nor integer zero points: floats. */
  readonly offset?: 'zero'
  /**
   * Whether the last group of a row may have fewer columns than the others: always, or where zero points were
   * asked for. Default: groups must divide the columns.
   */
  readonly shortGroups?: boolean | 'zeroPoints'
  /** The integer zero point that all its blocks have. Default: it has none, or chooses them. */
  readonly zeroPoint?: number
  /**
   * Adds to the statistics of a layer what it needs of a batch.
   * @param x [M, K] float32, the rows that the weight [N, K] multiplies
   * @param float [M, K] float32, those that it multiplies in the float model; where it `seesFloat`, in a
   * calibrated run, and else absent
   */
  collects?(x: Tensor, statistics: Statistics, float?: Tensor): void
  /**
   * Whether a calibrated run rounds its scales to float16 behind the last layer only, as GPTQModel does when it
   * saves; what comes before is solved, and computed, with float32's.
   */
  readonly roundsScalesLast?: boolean
  /** Whether it wants to know what the float model gives its layers, beside what the quantized one does. */
  readonly seesFloat?: boolean
  /**
   * @param weight [N, K] float32, float16 or bfloat16
   * @param statistics of its layer; absent where nothing was collected, as of embeddings: it rounds then
   */
  solve(weight: Tensor, spec: WeightSpec, statistics?: Statistics | null): WeightParts
  /**
   * The floats [N, K] that the parts stand for, where there is a shorter way to them than by the codes: each
   * training step takes it.
   */
  round?(weight: Tensor, spec: WeightSpec, statistics?: Statistics | null): Tensor
}

/** A quantizer. */
export const aQuantizer: Kind = {
  must: 'be a quantizer: an object with a name and a function solve',
  holds: (value) => isObject(value) && typeof value.name === 'string' && typeof value.solve === 'function',
}

/** What a quantizer collected of one layer: tensors by names of its own. */
export class Statistics {
  private readonly tensors = new Map<string, Tensor>()

  get(name: string): Tensor | undefined {
    return this.tensors.get(name)
  }

  values(): Iterable<Tensor> {
    return this.tensors.values()
  }

  /** Keeps a tensor beyond the scope that it was made in, in place of the one before. */
  set(name: string, tensor: Tensor): void {
    const before = this.tensors.get(name)
    this.tensors.set(name, keep(tensor))
    if (before !== tensor) before?.dispose()
  }

  /** Copies of its tensors, which live until they are disposed. */
  clone(): Statistics {
    const copy = new Statistics()
    for (const [name, tensor] of this.tensors) copy.set(name, tensor.clone())
    return copy
  }

  dispose(): void {
    for (const tensor of this.tensors.values()) tensor.dispose()
    this.tensors.clear()
  }
}
