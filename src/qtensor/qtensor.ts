import { type DType, dtypes, type FloatDType, isFloatDType } from '../core/dtype.ts'
import { ShapeError } from '../core/errors.ts'
import { inspect } from '../core/inspect.ts'
import { aFunction, anObject, check, instanceOf, type Kind } from '../core/kinds.ts'
import { aQType, type QType } from '../core/qtype.ts'
import { numel, type Shape, showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { keep, scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { checkDType, checkShape, checkSizes, placeOf, Tensor } from '../tensor/tensor.ts'
import type { Quantizer, ScaleAndShift } from './quantizer.ts'
import { packTiles, unpackTiles } from './tiles.ts'

/** What a quantized tensor is made of on a device: each part in tiles, as it was given. */
export interface QTensorTiles {
  codes: Tensor
  scale: Tensor
  /**
   * Shifts of the scales' dtype, or zero points of the codes', packed as codes of 8 bits; null where there
   * are none.
   */
  offset: Tensor | null
  scaleDtype: FloatDType
  offsetDtype: DType
}

/**
 * A weight stored in few bits: codes, and for each group a scale and no offset, a shift, or an integer zero
 * point.
 *
 *     w[n, k] = scale[n, g] · q[n, k]                    g = ⌊k / G⌋
 *             = scale[n, g] · q[n, k] − shift[n, g]
 *             = scale[n, g] · (q[n, k] − zeroPoint[n, g])        which holds 0 exactly
 *
 * As a matrix it has N = shape[0] rows and K = the rest of the shape columns; a group is G consecutive
 * columns of one row.
 */
export class QTensor {
  readonly qtype: QType
  readonly shape: Shape
  /** Columns that share a scale; K when the whole row does. */
  readonly groupSize: number
  /** The dtype of the float weight, in which scales are chosen, saved and applied. */
  readonly dtype: FloatDType
  /** Codes in tiles, uint8. */
  readonly codeTiles: Tensor
  /** [N, groups] in tiles. */
  readonly scaleTiles: Tensor
  readonly offsetTiles: Tensor | null
  /**
   * What the scales are in their tiles: the weight's dtype, or what a format gives them as; they are applied
   * in float32.
   */
  readonly scaleDtype: FloatDType
  /** The dtype of the offsets: a float for shifts, an integer for zero points. */
  readonly offsetDtype: DType

  constructor(qtype: QType, shape: Shape, groupSize: number, dtype: FloatDType, tiles: QTensorTiles) {
    check('QTensor', 'qtype', qtype, aQType)
    check('QTensor', 'tiles', tiles, anObject)
    this.qtype = qtype
    this.shape = shape
    this.groupSize = groupSize
    this.dtype = dtype
    this.codeTiles = tiles.codes
    this.scaleTiles = tiles.scale
    this.offsetTiles = tiles.offset
    this.scaleDtype = tiles.scaleDtype
    this.offsetDtype = tiles.offsetDtype
  }

  /**
   * Packs codes and scales.
   * @param codes [N, K] one byte a code
   * @param scale,shift [N, groups] in the weight's dtype
   * @param zeroPoint [N, groups] one byte each, in place of the shift
   */
  static fromParts(
    qtype: QType,
    shape: Shape,
    groupSize: number,
    codes: Tensor,
    scale: Tensor,
    shift: Tensor | null,
    zeroPoint: Tensor | null = null,
  ): QTensor {
    check('qtensor', 'qtype', qtype, aQType)
    checkSizes('qtensor', shape)
    const [N, K] = matrixShape(shape)
    const groups = K / groupSize
    if (!Number.isInteger(groups))
      throw new ShapeError(
        `qtensor: ${K} columns must divide into groups of ${groupSize}; shape ${showShape(shape)}`,
      )
    checkShape('qtensor', 'codes', codes, [N, K])
    checkShape('qtensor', 'scale', scale, [N, groups])
    if (shift) checkShape('qtensor', 'shift', shift, [N, groups])
    if (zeroPoint) checkShape('qtensor', 'zeroPoint', zeroPoint, [N, groups])
    const offset = zeroPoint ?? shift
    const tiles = {
      codes: packTiles(codes, qtype.bits),
      scale: packTiles(scale),
      offset: offset && packTiles(offset),
    }
    const scaleDtype = scale.dtype as FloatDType
    return new QTensor(qtype, shape, groupSize, scaleDtype, {
      ...tiles,
      scaleDtype,
      offsetDtype: offset?.dtype ?? scaleDtype,
    })
  }

  /** Quantizes a float weight; `groupSize` K or null gives one scale a row. */
  static quantize(weight: Tensor, qtype: QType, groupSize: number | null, quantizer: Quantizer): QTensor {
    checkDType('QTensor.quantize', 'weight', weight, 'float32', 'float16', 'bfloat16')
    check('QTensor.quantize', 'qtype', qtype, aQType)
    check('QTensor.quantize', 'quantizer', quantizer, aFunction)
    const [N, K] = matrixShape(weight.shape)
    const G = groupSize ?? K
    return aside(() => {
      const groups = groupsOf(weight, G)
      const { codes, scale, shift, zeroPoint } = quantizeGroups(groups, qtype, quantizer(groups, qtype))
      const perGroup = (values: Tensor | null | undefined) => values?.view([N, K / G]) ?? null
      const parts = [
        codes.view([N, K]),
        scale.view([N, K / G]),
        perGroup(shift),
        perGroup(zeroPoint),
      ] as const
      return QTensor.fromParts(qtype, weight.shape, G, ...parts)
    })
  }

  get device(): Device {
    return this.codeTiles.device
  }

  get numel(): number {
    return numel(this.shape)
  }

  /**
   * Bytes that codes, scales and offsets take when saved: codes at their bits, the others at their dtypes.
   */
  get byteLength(): number {
    const [N, K] = matrixShape(this.shape)
    const scales = (N * K) / this.groupSize
    const offsetBytes = this.offsetTiles ? dtypes[this.offsetDtype].bytes : 0
    return Math.ceil((N * K * this.qtype.bits) / 8) + scales * (dtypes[this.scaleDtype].bytes + offsetBytes)
  }

  /** The codes [N, K], one byte each, of the qtype's dtype. */
  codes(): Tensor {
    const [N, K] = matrixShape(this.shape)
    return unpackTiles(this.codeTiles, this.qtype.bits, N, K, this.qtype.dtype)
  }

  /** The scales [N, groups] in the weight's dtype. */
  scale(): Tensor {
    return this.unpackGroups(this.scaleTiles, this.scaleDtype, this.dtype)
  }

  /** Whether its offsets are integer zero points. */
  get hasZeroPoints(): boolean {
    return this.offsetTiles !== null && !isFloatDType(this.offsetDtype)
  }

  /**
   * The shifts [N, groups] in the weight's dtype, those of zero points scale · z; null where there are none.
   */
  shift(): Tensor | null {
    const zeroPoint = this.zeroPoint()
    if (!zeroPoint)
      return this.offsetTiles && this.unpackGroups(this.offsetTiles, this.offsetDtype, this.dtype)
    return scope(() => {
      const [rows, scale] = [zeroPoint.numel, this.scale()]
      // Codes in rows of one, each with its scale.
      return dequantizeGroups(this.qtype, { codes: zeroPoint.view([rows, 1]), scale, shift: null }).view(
        scale.shape,
      )
    })
  }

  /** The integer zero points [N, groups], one byte each as the codes; null where there are none. */
  zeroPoint(): Tensor | null {
    return this.hasZeroPoints && this.offsetTiles
      ? this.unpackGroups(this.offsetTiles, this.offsetDtype)
      : null
  }

  /** Tiles of a value a group as [N, groups], cast to `as`. */
  private unpackGroups(tiles: Tensor, dtype: DType, as = dtype): Tensor {
    const [N, K] = matrixShape(this.shape)
    const unpack = () => unpackTiles(tiles, 8 * dtypes[dtype].bytes, N, K / this.groupSize, dtype)
    return as === dtype ? unpack() : scope(() => cast(unpack(), as))
  }

  /** The float weight that the codes stand for, every operation rounded to the weight's dtype. */
  dequantize(): Tensor {
    return aside(() => {
      const codes = this.codes().view([this.numel / this.groupSize, this.groupSize])
      const zeroPoint = this.zeroPoint()
      const shift = zeroPoint ? null : this.shift()
      return dequantizeGroups(this.qtype, { codes, scale: this.scale(), shift, zeroPoint }).view(this.shape)
    })
  }

  /** A copy with memory of its own. */
  clone(): QTensor {
    const { codeTiles, scaleTiles, offsetTiles, scaleDtype, offsetDtype } = this
    const tiles = {
      codes: codeTiles.clone(),
      scale: scaleTiles.clone(),
      offset: offsetTiles?.clone() ?? null,
    }
    return new QTensor(this.qtype, this.shape, this.groupSize, this.dtype, {
      ...tiles,
      scaleDtype,
      offsetDtype,
    })
  }

  /** Its tensors, so that scopes know what it holds. */
  tensors(): Tensor[] {
    return [this.codeTiles, this.scaleTiles, ...(this.offsetTiles ? [this.offsetTiles] : [])]
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
    const group =
      this.groupSize === matrixShape(this.shape)[1] ? 'one scale a row' : `groups of ${this.groupSize}`
    const bits = Number(((8 * this.byteLength) / this.numel).toFixed(2))
    return `QTensor ${this.qtype.name} ${showShape(this.shape)}, ${group}, ${bits} bits per weight${placeOf(this.codeTiles)}`
  }

  [inspect](): string {
    return this.toString()
  }
}

/** A quantized tensor. */
export const aQTensor: Kind = instanceOf(QTensor, 'be a quantized tensor')

/** [N, K]: the first dimension, and all others together. */
export function matrixShape(shape: Shape): [rows: number, cols: number] {
  return [shape[0], numel(shape.slice(1))]
}

/** A weight as a matrix whose rows are groups of G columns. */
function groupsOf(weight: Tensor, G: number): Tensor {
  const [, K] = matrixShape(weight.shape)
  if (K % G !== 0)
    throw new ShapeError(
      `quantize: ${K} columns must divide into groups of ${G}; weight ${showShape(weight.shape)}`,
    )
  return weight.view([weight.numel / G, G])
}

/**
 * Adds the nearest codes [groups, G], one byte each, to the scales that a quantizer chose, unless it chose
 * the codes, too.
 */
function quantizeGroups(
  groups: Tensor,
  qtype: QType,
  chosen: ScaleAndShift,
): ScaleAndShift & { codes: Tensor } {
  if (chosen.codes) return { ...chosen, codes: chosen.codes }
  const { scale, shift, zeroPoint } = chosen
  const [rows, G] = groups.shape
  const x = cast(groups, scale.dtype)
  const dtype = dtypes[scale.dtype].code
  const codes = Tensor.empty(groups.device, [rows, G], 'uint8')
  if (zeroPoint) {
    groups.device.call('affineQuantize', {
      x,
      dtype,
      scale,
      zeroPoint,
      codes,
      rows,
      cols: G,
      qmin: qtype.qmin,
      qmax: qtype.qmax,
      offset: 0,
      reciprocal: 0,
    })
  } else {
    groups.device.call('quantize', { x, dtype, scale, shift, codes, rows, cols: G, qtype: qtype.code })
  }
  return { ...chosen, codes }
}

/** The floats [rows, G] of codes, in the dtype of the scales. */
function dequantizeGroups(
  qtype: QType,
  { codes, scale, shift, zeroPoint }: ScaleAndShift & { codes: Tensor },
): Tensor {
  const [rows, G] = codes.shape
  const y = Tensor.empty(codes.device, [rows, G], scale.dtype)
  const dtype = dtypes[scale.dtype].code
  if (zeroPoint)
    codes.device.call('affineDequantize', {
      codes,
      qtype: qtype.code,
      scale,
      zeroPoint,
      y,
      dtype,
      rows,
      cols: G,
    })
  else codes.device.call('dequantize', { codes, qtype: qtype.code, scale, shift, y, dtype, rows, cols: G })
  return y
}

/**
 * Without a tape and in a scope of its own: what is computed on the way to a quantized weight has no gradient
 * and is not kept for one.
 */
function aside<R>(body: () => R): R {
  return noGrad(() => scope(body))
}

/**
 * The float weight that a weight's codes would stand for: `QTensor.quantize`, then `dequantize`, without the
 * packing between. Where nothing but scales and shifts are chosen, one pass makes it.
 */
export function fakeQuantize(
  weight: Tensor,
  qtype: QType,
  groupSize: number | null,
  quantizer: Quantizer,
): Tensor {
  return aside(() => {
    const groups = groupsOf(weight, groupSize ?? matrixShape(weight.shape)[1])
    const chosen = quantizer(groups, qtype)
    const { scale, shift, zeroPoint, codes } = chosen
    if (codes || zeroPoint || scale.dtype !== weight.dtype) {
      return cast(dequantizeGroups(qtype, quantizeGroups(groups, qtype, chosen)), weight.dtype).view(
        weight.shape,
      )
    }
    const y = Tensor.empty(weight.device, weight.shape, weight.dtype)
    const [rows, G] = groups.shape
    weight.device.call('quantizeDequantize', {
      x: groups,
      dtype: dtypes[weight.dtype].code,
      scale,
      shift,
      y,
      rows,
      cols: G,
      qtype: qtype.code,
    })
    return y
  })
}

/** What kernels take of a quantized weight, by their names. */
export function weightArguments(weight: QTensor) {
  const { codeTiles, qtype, scaleTiles, offsetTiles, scaleDtype, offsetDtype, groupSize } = weight
  return {
    w: codeTiles,
    qtype: qtype.code,
    scale: scaleTiles,
    offset: offsetTiles,
    scaleDtype: dtypes[scaleDtype].code,
    offsetDtype: dtypes[offsetDtype].code,
    groupSize,
  }
}
