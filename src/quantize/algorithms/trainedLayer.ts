import type { FloatDType } from '../../core/dtype.ts'
import { Module } from '../../nn/module.ts'
import type { QWeightModule } from '../../nn/qmodule.ts'
import {
  blocksShape,
  isNested,
  matrixShape,
  type Offset,
  type PlainScale,
  type WeightParts,
} from '../../qtensor/parts.ts'
import { permuteColumns } from '../../qtensor/permuteColumns.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { encodeRows } from '../../qtensor/rows.ts'
import { dequantizeBlocks } from '../../qtensor/weightBlocks.ts'
import { add, cast, clamp, concat, div, fakeQuantize, mul, slice, sub } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'

/**
 * Stands in a frozen layer's place while what its codes stand for trains: scales and shifts, and where it is
 * made with floats the codes, too, straight through their rounding.
 *
 *     w = s · (q − z) − t                                                     q as they are
 *     w = s · clamp(rne((v + o) / s), qmin, qmax) − o                         o = t, or s · z
 *     s = s₀ · a        t = t₀ + s₀ · b        v = s₀ · u                     a, b and u train; z stays
 *
 * So steps of an optimizer are parts of a quantization step, whatever the size of the weights. Rows of the
 * tensors are groups of G columns, the last of a row filled up with zeros.
 * Source: Esser et al., "Learned Step Size Quantization", 2020; Chen et al., "EfficientQAT", 2024.
 */
export class TrainedLayer extends Module {
  /** a [groups, 1] */
  readonly scaleFactor: Tensor
  /** b [groups, 1]; null where the weight has no shifts */
  readonly shiftSteps: Tensor | null
  /** u [groups, G]; null where codes stay */
  readonly weightSteps: Tensor | null
  private readonly fixed: FixedParts
  private readonly twin: () => QWeightModule
  private readonly weight: () => QTensor

  /**
   * @param twin how the layer computes
   * @param weight its codes, of which `isTrainable` holds; they stay the caller's
   * @param float the weight as the float layer has it, which v begins at, as near as the codes stay the same;
   * null: codes stay
   */
  constructor(twin: QWeightModule, weight: QTensor, float: Tensor | null) {
    super()
    // Functions, so that neither is a part of this layer.
    this.twin = () => twin
    this.weight = () => weight
    const { fixed, weightSteps } = noGrad(() => scope(() => this.start(twin, float)))
    this.fixed = keep(fixed)
    this.weightSteps = keep(weightSteps)
    const { scale, shift } = fixed
    this.scaleFactor = keep(Tensor.full(scale.device, scale.shape, 1))
    this.shiftSteps = shift && keep(Tensor.full(scale.device, scale.shape, 0))
    for (const tensor of [...this.steps, ...this.codes]) tensor.requiresGrad = true
  }

  override get nonPersistentNames(): readonly string[] {
    return ['fixed']
  }

  /** What scales and shifts train by. */
  get steps(): Tensor[] {
    return this.shiftSteps ? [this.scaleFactor, this.shiftSteps] : [this.scaleFactor]
  }

  /** What codes train by. */
  get codes(): Tensor[] {
    return this.weightSteps ? [this.weightSteps] : []
  }

  /** As the float layer's. */
  forward(x: Tensor): unknown {
    return scope(() => {
      const layer = this.twin().floatLayer(this.twin().fromOutputRows(this.floats()))
      return (layer as Module & { forward(x: Tensor): unknown }).forward(x)
    })
  }

  /** The weight that came of it, its scales and shifts rounded to their dtype; of the running scope. */
  parts(): WeightParts {
    return noGrad(() =>
      scope(() => {
        const parts = this.weight().parts()
        const scale = rounded(this.scale(), parts.scale as PlainScale)
        const shift = this.shift()
        const offset = shift && {
          ...(parts.offset as PlainOffset),
          ...rounded(shift, parts.offset as PlainOffset),
        }
        const made = { ...parts, scale, offset: offset ?? parts.offset }
        if (!this.weightSteps) return made
        const { zero } = this.fixed
        const [s, o] = [flat(scale.values), offset && flat(offset.values)]
        const v = mul(this.weightSteps, this.fixed.scale)
        const shifted = zero ? add(v, mul(s.view(zero.shape), zero)) : v
        return { ...made, codes: this.fromGroups(encodeRows(shifted, { scale: s, shift: o }, parts.type)) }
      }),
    )
  }

  /** Takes its tensors away. */
  override dispose(): void {
    const { scale, shift, zero, codes } = this.fixed
    for (const tensor of [...this.steps, ...this.codes, scale, shift, zero, codes]) tensor?.dispose()
  }

  private start(
    twin: QWeightModule,
    float: Tensor | null,
  ): { fixed: FixedParts; weightSteps: Tensor | null } {
    const weight = this.weight()
    const { type, scale, offset, codes, order, block } = weight.parts()
    const column = (values: Tensor) => cast(values, 'float32').view([values.numel, 1])
    // A scale of 0 divides nothing.
    const s = add(column((scale as PlainScale).values), 1e-30)
    const t = offset?.kind === 'shift' ? column((offset as PlainOffset).values).clone() : null
    const blocks = blocksShape(block, weight.shape)
    const one = Tensor.full(codes.device, blocks, 1)
    const z = weight.zeroPoint()?.view(blocks) ?? null
    const q = this.asGroups(dequantizeBlocks(type, { codes, scale: one, zeroPoint: z }, block))
    if (!float) return { fixed: { scale: s, shift: t, zero: null, codes: q.clone() }, weightSteps: null }
    const rows = cast(twin.outputRows(float).view(codes.shape), 'float32')
    const v = div(this.asGroups(order ? permuteColumns(rows, order) : rows), s)
    const coded = t ? sub(q, div(t, s)) : q
    const zeros = z && this.asZeros(z, type, one)
    // Half a step away from a code its rounding is a matter of luck.
    const weightSteps = add(coded, clamp(sub(v, coded), -0.49, 0.49))
    return { fixed: { scale: s, shift: t, zero: zeros, codes: null }, weightSteps }
  }

  private asZeros(z: Tensor, type: QTensor['qtype'], one: Tensor): Tensor {
    const first = { kind: 'group', size: 1 } as const
    return dequantizeBlocks(type, { codes: z, scale: one }, first).view([z.numel, 1]).clone()
  }

  private scale(): Tensor {
    return mul(this.scaleFactor, this.fixed.scale)
  }

  private shift(): Tensor | null {
    const { scale, shift } = this.fixed
    return shift && this.shiftSteps && add(shift, mul(this.shiftSteps, scale))
  }

  /** The weight [N, K], or of whatever shape it has as it is quantized. */
  private floats(): Tensor {
    const { codes, zero } = this.fixed
    const weight = this.weight()
    const { qmin, qmax } = weight.qtype
    const [s, shift] = [this.scale(), this.shift()]
    const offset = shift ?? (zero && mul(s, zero))
    const v = this.weightSteps && mul(this.weightSteps, this.fixed.scale)
    const scaled = v
      ? fakeQuantize(offset ? add(v, offset) : v, s.view([s.numel]), { qmin, qmax })
      : mul(codes as Tensor, s)
    const rows = this.fromGroups(offset ? sub(scaled, offset) : scaled)
    return (weight.order ? permuteColumns(rows, weight.order, 'back') : rows).view(weight.shape)
  }

  /** x [N, K] → [groups, G] */
  private asGroups(x: Tensor): Tensor {
    const [rows, width, lacking] = this.grid()
    if (lacking === 0) return x.view([rows, width])
    return concat([x, Tensor.full(x.device, [x.shape[0], lacking], 0)], 1).view([rows, width])
  }

  /** [groups, G] → [N, K] */
  private fromGroups(groups: Tensor): Tensor {
    const [N, K] = matrixShape(this.weight().shape)
    const [, , lacking] = this.grid()
    const whole = groups.view([N, K + lacking])
    return lacking === 0 ? whole : slice(whole, 1, 0, K)
  }

  /** Groups of all rows, their columns, and how many the last one of a row lacks. */
  private grid(): [groups: number, width: number, lacking: number] {
    const { block, shape } = this.weight()
    const [N, K] = matrixShape(shape)
    const width = block.kind === 'group' ? Math.min(block.size, K) : K
    const across = Math.ceil(K / width)
    return [N * across, width, across * width - K]
  }
}

/** s₀ and t₀ [groups, 1], z [groups, 1] where codes train, and q − z [groups, G] where they do not; float32. */
interface FixedParts {
  scale: Tensor
  shift: Tensor | null
  zero: Tensor | null
  codes: Tensor | null
}

type PlainOffset = Extract<Offset, PlainScale>

/** Values in the place, shape and dtype of those that they come after. */
function rounded(values: Tensor, before: PlainScale): PlainScale {
  return { values: cast(values, before.values.dtype as FloatDType).view(before.values.shape) }
}

function flat(values: Tensor): Tensor {
  return cast(values, 'float32').view([values.numel])
}

/**
 * Whether what the codes of a frozen layer stand for can train: a float for each group of columns; and that
 * codes can, too: they are whole numbers.
 */
export function isTrainable(weight: QTensor, rounding: boolean): boolean {
  if (weight.block.kind !== 'group') return false
  const { scale, offset, type } = scope(() => weight.parts())
  if (isNested(scale) || scale.divisor !== undefined) return false
  if (offset && (offset.kind === 'zero' || isNested(offset))) return false
  return !rounding || type.values === 'unsigned' || type.values === 'signed'
}
