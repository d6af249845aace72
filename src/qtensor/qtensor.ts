import { dtypes, type FloatDType } from '../core/dtype.ts'
import { ShapeError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import { numel, type Shape, showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { keep, scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { checkShape, Tensor } from '../tensor/tensor.ts'
import type { Quantizer, ScaleAndShift } from './quantizer.ts'
import { packTiles, unpackTiles } from './tiles.ts'

/** What a quantized tensor is made of on a device. */
export interface ScaledTiles {
  codes: Tensor
  scale: Tensor
  shift: Tensor | null
  scaleDtype: 'float32' | 'float16'
  /** Whether shift is scale · z for an integer z; absent: it is not. */
  integerShift?: boolean
}

/**
 * A weight stored in few bits: codes, and a scale (for unsigned types also a shift) per group.
 *
 *     w[n, k] = scale[n, k / G] · q[n, k]  (− shift[n, k / G])
 *
 * A shift may be scale · z for an integer z, the zero point; then w = scale · (q − z), and 0 is held exactly.
 * As a matrix it has N = shape[0] rows and K = the rest of the shape columns; a group is G consecutive columns of one row.
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
  readonly shiftTiles: Tensor | null
  /** What the scales are in their tiles: float32, or float16 where a format gives them so (and they are applied in float32). */
  readonly scaleDtype: 'float32' | 'float16'
  /** Whether the shifts stand for integer zero points. */
  readonly integerShift: boolean

  constructor(qtype: QType, shape: Shape, groupSize: number, dtype: FloatDType, tiles: ScaledTiles) {
    this.qtype = qtype
    this.shape = shape
    this.groupSize = groupSize
    this.dtype = dtype
    this.codeTiles = tiles.codes
    this.scaleTiles = tiles.scale
    this.shiftTiles = tiles.shift
    this.scaleDtype = tiles.scaleDtype
    this.integerShift = tiles.integerShift ?? false
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
    const [N, K] = matrixShape(shape)
    const groups = K / groupSize
    if (!Number.isInteger(groups))
      throw new ShapeError(`qtensor: ${K} columns must divide into groups of ${groupSize}; shape ${showShape(shape)}`)
    checkShape('qtensor', 'codes', codes, [N, K])
    checkShape('qtensor', 'scale', scale, [N, groups])
    if (shift) checkShape('qtensor', 'shift', shift, [N, groups])
    if (zeroPoint) checkShape('qtensor', 'zeroPoint', zeroPoint, [N, groups])
    return scope(() => {
      const tiles = (values: Tensor) => packTiles(cast(values, 'float32'), 32)
      const shifts = zeroPoint ? scaled(zeroPoint, qtype, scale) : shift
      const packed = { codes: packTiles(codes, qtype.bits), scale: tiles(scale), shift: shifts && tiles(shifts) }
      const integerShift = zeroPoint !== null
      return new QTensor(qtype, shape, groupSize, scale.dtype as FloatDType, { ...packed, scaleDtype: 'float32', integerShift })
    })
  }

  /** Quantizes a float weight; `groupSize` K or null gives one scale a row. */
  static quantize(weight: Tensor, qtype: QType, groupSize: number | null, quantizer: Quantizer): QTensor {
    const [N, K] = matrixShape(weight.shape)
    const G = groupSize ?? K
    return aside(() => {
      const groups = groupsOf(weight, G)
      const { codes, scale, shift, zeroPoint } = quantizeGroups(groups, qtype, quantizer(groups, qtype))
      const perGroup = (values: Tensor | null | undefined) => values?.view([N, K / G]) ?? null
      const parts = [codes.view([N, K]), scale.view([N, K / G]), perGroup(shift), perGroup(zeroPoint)] as const
      return QTensor.fromParts(qtype, weight.shape, G, ...parts)
    })
  }

  get device(): Device {
    return this.codeTiles.device
  }

  get numel(): number {
    return numel(this.shape)
  }

  /** Bytes that the codes and scales take when saved: codes at their bits, scales at the weight's dtype (or float16, see `scaleDtype`). */
  get byteLength(): number {
    const [N, K] = matrixShape(this.shape)
    const scales = (N * K) / this.groupSize
    const scaleBytes = Math.min(dtypes[this.dtype].bytes, dtypes[this.scaleDtype].bytes)
    const shiftBytes = !this.shiftTiles ? 0 : this.integerShift ? 1 : scaleBytes
    return Math.ceil((N * K * this.qtype.bits) / 8) + scales * (scaleBytes + shiftBytes)
  }

  /** The codes [N, K], one byte each, of the qtype's dtype. */
  codes(): Tensor {
    const [N, K] = matrixShape(this.shape)
    return unpackTiles(this.codeTiles, this.qtype.bits, N, K, this.qtype.dtype)
  }

  /** The scales [N, groups] in the weight's dtype. */
  scale(): Tensor {
    return this.unpackScales(this.scaleTiles)
  }

  /** The shifts [N, groups] in the weight's dtype; null for symmetric types. */
  shift(): Tensor | null {
    return this.shiftTiles && this.unpackScales(this.shiftTiles)
  }

  /** The integer zero points [N, groups], one byte each as the codes; null where there are none. */
  zeroPoint(): Tensor | null {
    const tiles = this.shiftTiles
    if (!tiles || !this.integerShift) return null
    const [N, K] = matrixShape(this.shape)
    return scope(() => {
      const [scale, shift] = [this.scaleTiles, tiles].map((values) => unpackTiles(values, 32, N, K / this.groupSize, 'float32'))
      // rne(shift / scale): what quantizing the shift, a row of one value, by the scale gives.
      const z = Tensor.empty(this.device, scale.shape, this.qtype.dtype)
      this.device.call('quantize', shift, dtypes.float32.code, scale, null, z, scale.numel, 1, this.qtype.code)
      return z
    })
  }

  private unpackScales(tiles: Tensor): Tensor {
    const [N, K] = matrixShape(this.shape)
    const bits = 8 * dtypes[this.scaleDtype].bytes
    return scope(() => cast(unpackTiles(tiles, bits, N, K / this.groupSize, this.scaleDtype), this.dtype))
  }

  /** The float weight that the codes stand for, every operation rounded to the weight's dtype. */
  dequantize(): Tensor {
    return aside(() => {
      const codes = this.codes().view([this.numel / this.groupSize, this.groupSize])
      return dequantizeGroups(this.qtype, { codes, scale: this.scale(), shift: this.shift(), zeroPoint: this.zeroPoint() }).view(this.shape)
    })
  }

  /** A copy with memory of its own. */
  clone(): QTensor {
    const { codeTiles: codes, scaleTiles: scale, shiftTiles: shift, scaleDtype, integerShift } = this
    const tiles = { codes: codes.clone(), scale: scale.clone(), shift: shift?.clone() ?? null, scaleDtype, integerShift }
    return new QTensor(this.qtype, this.shape, this.groupSize, this.dtype, tiles)
  }

  /** Its tensors, so that scopes know what it holds. */
  tensors(): Tensor[] {
    return this.shiftTiles ? [this.codeTiles, this.scaleTiles, this.shiftTiles] : [this.codeTiles, this.scaleTiles]
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

  toString(): string {
    const group = this.groupSize === matrixShape(this.shape)[1] ? 'per row' : `groups of ${this.groupSize}`
    return `QTensor(${showShape(this.shape)}, ${this.qtype.name}, ${group}, ${this.dtype})`
  }
}

/** [N, K]: the first dimension, and all others together. */
export function matrixShape(shape: Shape): [rows: number, cols: number] {
  return [shape[0], numel(shape.slice(1))]
}

/** A weight as a matrix whose rows are groups of G columns. */
function groupsOf(weight: Tensor, G: number): Tensor {
  const [, K] = matrixShape(weight.shape)
  if (K % G !== 0) throw new ShapeError(`quantize: ${K} columns must divide into groups of ${G}; weight ${showShape(weight.shape)}`)
  return weight.view([weight.numel / G, G])
}

/** Adds the nearest codes [groups, G], one byte each, to the scales that a quantizer chose, unless it chose the codes, too. */
function quantizeGroups(groups: Tensor, qtype: QType, chosen: ScaleAndShift): ScaleAndShift & { codes: Tensor } {
  if (chosen.codes) return { ...chosen, codes: chosen.codes }
  const { scale, shift, zeroPoint } = chosen
  const [rows, G] = groups.shape
  const x = cast(groups, scale.dtype)
  const dtype = dtypes[scale.dtype].code
  const codes = Tensor.empty(groups.device, [rows, G], 'uint8')
  if (zeroPoint) {
    groups.device.call('affineQuantize', x, dtype, scale, zeroPoint, codes, rows, G, qtype.qmin, qtype.qmax, 0, 0)
  } else {
    groups.device.call('quantize', x, dtype, scale, shift, codes, rows, G, qtype.code)
  }
  return { ...chosen, codes }
}

/** The floats [rows, G] of codes, in the dtype of the scales. */
function dequantizeGroups(qtype: QType, { codes, scale, shift, zeroPoint }: ScaleAndShift & { codes: Tensor }): Tensor {
  const [rows, G] = codes.shape
  const y = Tensor.empty(codes.device, [rows, G], scale.dtype)
  const dtype = dtypes[scale.dtype].code
  if (zeroPoint) codes.device.call('affineDequantize', codes, qtype.code, scale, zeroPoint, y, dtype, rows, G)
  else codes.device.call('dequantize', codes, qtype.code, scale, shift, y, dtype, rows, G)
  return y
}

/** Without a tape and in a scope of its own: what is computed on the way to a quantized weight has no gradient and is not kept for one. */
function aside<R>(body: () => R): R {
  return noGrad(() => scope(body))
}

/**
 * The float weight that a weight's codes would stand for: `QTensor.quantize`, then `dequantize`, without the packing between. Where nothing
 * but scales and shifts are chosen, one pass makes it.
 */
export function fakeQuantize(weight: Tensor, qtype: QType, groupSize: number | null, quantizer: Quantizer): Tensor {
  return aside(() => {
    const groups = groupsOf(weight, groupSize ?? matrixShape(weight.shape)[1])
    const chosen = quantizer(groups, qtype)
    const { scale, shift, zeroPoint, codes } = chosen
    if (codes || zeroPoint || scale.dtype !== weight.dtype) {
      return cast(dequantizeGroups(qtype, quantizeGroups(groups, qtype, chosen)), weight.dtype).view(weight.shape)
    }
    const y = Tensor.empty(weight.device, weight.shape, weight.dtype)
    const [rows, G] = groups.shape
    weight.device.call('quantizeDequantize', groups, dtypes[weight.dtype].code, scale, shift, y, rows, G, qtype.code)
    return y
  })
}

/** scale · z, float32. */
function scaled(zeroPoint: Tensor, qtype: QType, scale: Tensor): Tensor {
  const shift = Tensor.empty(scale.device, scale.shape)
  // What dequantizing the zero points, rows of one code, gives.
  scale.device.call('dequantize', zeroPoint, qtype.code, cast(scale, 'float32'), null, shift, dtypes.float32.code, scale.numel, 1)
  return shift
}
