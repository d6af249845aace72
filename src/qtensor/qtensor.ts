import { type DType, dtypes, type FloatDType } from '../core/dtype.ts'
import { inspect } from '../core/inspect.ts'
import { anObject, check, instanceOf, type Kind } from '../core/kinds.ts'
import { aQType, type QType } from '../core/qtype.ts'
import { numel, type Shape, showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { op } from '../tensor/op.ts'
import { cast, mul } from '../tensor/ops/elementwise.ts'
import { keep } from '../tensor/scope.ts'
import { checkDType, checkShape, placeOf, Tensor } from '../tensor/tensor.ts'
import {
  blockValues,
  checkHeld,
  cloneHeld,
  type HeldOffset,
  type HeldScale,
  holdOffset,
  holdScale,
  metaValues,
  offsetParts,
  scaleParts,
  tensorsOf,
} from './blockValues.ts'
import {
  type CodesForm,
  cloneCodes,
  codeTensors,
  type HeldCodes,
  holdCodes,
  plainCodes,
  tilesOf,
  wordsOf,
} from './heldCodes.ts'
import { nestedByteLength } from './nestedValues.ts'
import type { Packing } from './packing.ts'
import {
  type Block,
  blocksShape,
  checkBlock,
  checkParts,
  groupSizeOf,
  matrixShape,
  type PartsToHold,
  showBlock,
  type WeightFacts,
  type WeightParts,
} from './parts.ts'
import { prepareProduct } from './product.ts'
import {
  aQuantizer,
  type Quantizer,
  type ScaleOptions,
  type Statistics,
  type WeightSpec,
  weightSpec,
} from './quantizer.ts'
import { tileBytes } from './tiles.ts'
import { dequantizeBlocks, dequantizeParts, withoutGradient } from './weightBlocks.ts'

/** What a quantized tensor is made of, each part as a device keeps it. */
export interface WeightTiles {
  readonly type: QType
  readonly shape: Shape
  readonly dtype: FloatDType
  readonly block: Block
  /** Codes [N, K] in tiles, uint8, or held otherwise. */
  readonly codes: HeldCodes
  readonly scale: HeldScale
  readonly offset: HeldOffset | null
  /** [K] int32 */
  readonly order: Tensor | null
}

/**
 * A weight stored in few bits: codes, and for each block of weights a scale and no offset, a shift, or an
 * integer zero point.
 *
 *     w[n, k] = scale[b] · v(q[n, j])                    b the block of n and j; k = order[j], or j
 *             = scale[b] · v(q[n, j]) − shift[b]
 *             = scale[b] · (q[n, j] − zeroPoint[b])      which holds 0 exactly
 *
 * v is the value that the type gives a code. As a matrix it has N = shape[0] rows and K = the rest of the
 * shape columns. Everything is held as it was given (`parts` gives it back); kernels compute in float32.
 * In groups of 32, 4-bit weights of a bfloat16 model take 5 bits in memory, where float32 scales and shifts
 * would make 6.
 */
export class QTensor {
  readonly qtype: QType
  readonly shape: Shape
  /** The dtype of the float weight, in which its scales are applied. */
  readonly dtype: FloatDType
  /** The weights that share a scale. */
  readonly block: Block
  private readonly heldCodes: HeldCodes
  readonly heldScale: HeldScale
  readonly heldOffset: HeldOffset | null
  /** [K] int32: stored column j holds column order[j] of the weight; null where columns stand in order. */
  readonly order: Tensor | null

  /** Owns the tensors from now on. */
  constructor(tiles: WeightTiles) {
    check('QTensor', 'tiles', tiles, anObject)
    const { type, shape, dtype, block, codes, scale, offset, order } = tiles
    check('QTensor', 'type', type, aQType)
    checkBlock(block, shape)
    const [N, K] = matrixShape(shape)
    if (codes instanceof Tensor) checkShape('QTensor', 'codes', codes, [tileBytes(N, K, type.bits)])
    checkHeld('scale', scale, block, shape)
    if (offset) checkHeld(offset.kind, offset, block, shape)
    this.qtype = type
    this.shape = shape
    this.dtype = dtype
    this.block = block
    this.heldCodes = codes
    this.heldScale = scale
    this.heldOffset = offset
    this.order = order
  }

  /**
   * Lays parts out as the device wants them; they stay the caller's.
   * @param form how packed codes are held: a weight whose codes lie in words can be taken apart and written,
   * and not multiplied; of one without codes all else can be asked
   * @throws ShapeError or DTypeError unless they fit one another
   */
  static fromParts(parts: PartsToHold, form: CodesForm = 'tiles'): QTensor {
    checkParts(parts)
    const { type, shape, dtype, codes, block, scale, offset, order } = parts
    const weight = withoutGradient(
      () =>
        new QTensor({
          type,
          shape,
          dtype,
          block,
          codes: holdCodes(codes, type, shape, form),
          scale: holdScale(scale, block, shape),
          offset: offset ? holdOffset(offset, scale.values.device, type, block, shape) : null,
          order: order?.clone() ?? null,
        }),
    )
    if (weight.heldCodes instanceof Tensor) prepareProduct(weight)
    return weight
  }

  /** A quantized weight without memory: the place of one still to be made. */
  static meta(
    { type, block, scaleDtype }: Pick<WeightSpec, 'type' | 'block'> & { scaleDtype?: DType },
    shape: Shape,
    dtype: FloatDType,
    offset: HeldOffset['kind'] | null,
  ): QTensor {
    const [N, K] = matrixShape(shape)
    const codes = keep(Tensor.meta([tileBytes(N, K, type.bits)], 'uint8'))
    const values = (as: DType) => metaValues(as, block, shape)
    const scale = values(scaleDtype ?? dtype)
    const of = offset === 'zeroPoint' ? type.dtype : scale.dtype
    const held = { scale, offset: offset && { kind: offset, ...values(of) }, order: null }
    return new QTensor({ type, shape, dtype, block, codes, ...held })
  }

  /** Quantizes a float weight; `groupSize` K or null gives one scale a row. */
  static quantize(
    weight: Tensor,
    qtype: QType,
    groupSize: number | null,
    quantizer: Quantizer,
    statistics: Statistics | null = null,
    scales: ScaleOptions = {},
  ): QTensor {
    checkDType('QTensor.quantize', 'weight', weight, 'float32', 'float16', 'bfloat16')
    check('QTensor.quantize', 'qtype', qtype, aQType)
    check('QTensor.quantize', 'quantizer', quantizer, aQuantizer)
    const asked = Object.keys(scales).length > 0 ? scales : null
    return quantizeWeight(weight, qtype, groupSize, quantizer, statistics, asked)
  }

  get device(): Device {
    return tensorsOf(this.heldScale)[0].device
  }

  get numel(): number {
    return numel(this.shape)
  }

  /** Codes in tiles, uint8. @throws ShapeError if they are held otherwise, see `fromParts` */
  get codeTiles(): Tensor {
    return tilesOf(this.heldCodes)
  }

  /** What decides how it is multiplied. */
  get facts(): WeightFacts {
    const { qtype, shape, block, heldOffset } = this
    return { qtype, shape, block, offset: heldOffset?.kind ?? null }
  }

  /** Columns of a row that share a scale; K where the whole row does. Runs may cross rows. */
  get groupSize(): number {
    return groupSizeOf(this.block)
  }

  /**
   * Bytes that codes, scales and offsets take when saved: codes at their bits, the others at their dtypes.
   */
  get byteLength(): number {
    const { heldScale, heldOffset, block, shape, qtype, order } = this
    const bytesOf = (held: HeldScale | HeldOffset) => {
      if ('value' in held) return 0
      if (!('tensor' in held)) return nestedByteLength(held, block, shape)
      return numel(blocksShape(block, shape)) * dtypes[held.dtype].bytes
    }
    const others = bytesOf(heldScale) + (heldOffset ? bytesOf(heldOffset) : 0)
    return Math.ceil((this.numel * qtype.bits) / 8) + others + (order?.byteLength ?? 0)
  }

  /** Everything it was made of: new tensors, of the same bits. */
  parts(): WeightParts {
    const { qtype, shape, dtype, block, heldScale, heldOffset, order } = this
    return withoutGradient(() => ({
      type: qtype,
      shape,
      dtype,
      codes: this.codes(),
      block,
      scale: scaleParts(heldScale, block, shape),
      offset: heldOffset && offsetParts(heldOffset, block, shape),
      order: order?.clone() ?? null,
    }))
  }

  /** The codes [N, K], one byte each, of the qtype's dtype. */
  codes(): Tensor {
    return withoutGradient(() => plainCodes(this.heldCodes, this.qtype, this.shape))
  }

  /** The codes in words; as they lie in their file, where it packs them so and they are held so. */
  packedCodes(packing: Packing): Tensor {
    return withoutGradient(() => wordsOf(this.heldCodes, this.qtype, this.shape, packing))
  }

  /** The scales, in the weight's dtype or another, of the shape of the blocks: [N, groups] for groups. */
  scale(dtype = this.dtype): Tensor {
    return withoutGradient(() => blockValues(this.heldScale, this.block, this.shape, dtype))
  }

  /** Whether its offsets are integer zero points. */
  get hasZeroPoints(): boolean {
    return this.heldOffset?.kind === 'zeroPoint'
  }

  /**
   * The shifts in the weight's dtype or another, of the shape of the blocks, those of zero points scale · z;
   * null where there are none.
   */
  shift(dtype = this.dtype): Tensor | null {
    const { heldOffset, block, shape, qtype } = this
    if (!heldOffset) return null
    if (heldOffset.kind === 'shift')
      return withoutGradient(() => blockValues(heldOffset, block, shape, dtype))
    if (heldOffset.kind === 'zero')
      return withoutGradient(() => {
        const zero = blockValues(heldOffset, block, shape, 'float32')
        return cast(mul(this.scale('float32'), zero), dtype)
      })
    return withoutGradient(() => {
      const [zeroPoint, scale] = [blockValues(heldOffset, block, shape), this.scale(dtype)]
      // Codes in rows of one, each with its scale.
      const column = zeroPoint.view([zeroPoint.numel, 1])
      const parts = { codes: column, scale: scale.view(column.shape), shift: null }
      return dequantizeBlocks(qtype, parts, { kind: 'group', size: 1 }).view(scale.shape)
    })
  }

  /**
   * The integer zero points of the shape of the blocks, one byte each as the codes; null where there are
   * none.
   */
  zeroPoint(): Tensor | null {
    const { heldOffset, block, shape } = this
    if (heldOffset?.kind !== 'zeroPoint') return null
    return withoutGradient(() => blockValues(heldOffset, block, shape))
  }

  /**
   * The float weight that the codes stand for, in its dtype. Every operation is rounded to that dtype where
   * the scales have it; scales of another are applied in float32.
   */
  dequantize(): Tensor {
    return dequantizeWeight(this)
  }

  /**
   * A copy with memory of its own.
   * @param copy how each of its tensors is copied
   * @param shape of the copy, where what `copy` gives has other rows
   */
  clone(copy = (tensor: Tensor) => tensor.clone(), shape = this.shape): QTensor {
    const { qtype: type, dtype, block, heldCodes, heldScale, heldOffset, order } = this
    const cloned = new QTensor({
      type,
      shape,
      dtype,
      block,
      codes: cloneCodes(heldCodes, copy),
      scale: cloneHeld(heldScale, copy),
      offset: heldOffset && cloneHeld(heldOffset, copy),
      order: order && copy(order),
    })
    if (heldCodes instanceof Tensor) prepareProduct(cloned)
    return cloned
  }

  /** Its tensors, so that scopes know what it holds. */
  tensors(): Tensor[] {
    const { heldCodes, heldScale, heldOffset, order } = this
    const offset = heldOffset ? tensorsOf(heldOffset) : []
    return [...codeTensors(heldCodes), ...tensorsOf(heldScale), ...offset, ...(order ? [order] : [])]
  }

  /** Takes it out of the running scope. */
  keep(): this {
    return keep(this)
  }

  dispose(): void {
    for (const tensor of this.tensors()) tensor.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** `QTensor qint4 [64,128], groups of 64, 5 bits per weight on native avx512` */
  toString(): string {
    const { qtype, shape, block, order } = this
    const bits = Number(((8 * this.byteLength) / this.numel).toFixed(2))
    const blocks = `${showBlock(block, shape)}${order ? ', columns reordered' : ''}`
    return `QTensor ${qtype.name} ${showShape(shape)}, ${blocks}, ${bits} bits per weight${placeOf(tensorsOf(this.heldScale)[0])}`
  }

  [inspect](): string {
    return this.toString()
  }
}

/** A quantized tensor. */
export const aQTensor: Kind = instanceOf(QTensor, 'be a quantized tensor')

/** See `QTensor.quantize`. */
const quantizeWeight = op(
  'quantizeWeight(weight, qtype, groupSize, quantizer, statistics, scales)',
  (
    weight: Tensor,
    qtype: QType,
    groupSize: number | null,
    quantizer: Quantizer,
    statistics: Statistics | null,
    scales: ScaleOptions | null,
  ): QTensor =>
    withoutGradient(() => {
      const { shape } = weight
      const spec = weightSpec({ ...scales, qtype, groupSize }, shape)
      const parts = quantizer.solve(weight.view(matrixShape(shape)), spec, statistics)
      return QTensor.fromParts({ ...parts, shape })
    }),
)

/** See `QTensor.dequantize`. */
const dequantizeWeight = op(
  'dequantize(weight)',
  (weight: QTensor): Tensor =>
    withoutGradient(() => {
      const zeroPoint = weight.zeroPoint()
      const parts = weight.parts()
      return dequantizeParts(
        zeroPoint ? { ...parts, offset: { kind: 'zeroPoint', values: zeroPoint } } : parts,
      )
    }),
)
