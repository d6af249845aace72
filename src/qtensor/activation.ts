import { DTypeError } from '../core/errors.ts'
import { check } from '../core/kinds.ts'
import { aQType, type QType } from '../core/qtype.ts'
import { showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import type { Storage } from '../devices/storage.ts'
import { type Handlers, op } from '../tensor/op.ts'
import { fakeQuantizeGradients } from '../tensor/ops/fakeQuantize.ts'
import { keep } from '../tensor/scope.ts'
import { type Gradient, needsGrad } from '../tensor/tape.ts'
import { checkDType, checkShape, checkTensor, placeOf, Tensor } from '../tensor/tensor.ts'
import { quantizedOps } from './activationOps.ts'
import { decodeRows, encodeRows } from './rows.ts'

/**
 * What became of a module's quantized output: which operations kept it quantized, who took its codes, and how
 * often they were made float.
 */
export interface ActivationUse {
  readonly keptBy: Set<string>
  dequantized: number
  /** Whether a quantized layer or product took the codes. */
  taken: boolean
}

/**
 * An activation stored in 8 bits: codes in the tensor's own layout, and one scale.
 *
 *     x[i] = scale · q[i]
 *
 * It is a float32 tensor to whoever uses it: operations of `registerQuantizedOp` compute on the codes, all
 * others get the floats, which are made when they are first asked for. Gradients pass through the rounding as
 * if it were not there.
 * Source: optimum-quanto 0.2.7, tensor/activations/qbytes.py.
 */
export class QActivation extends Tensor {
  readonly qtype: QType
  /** [...] int8 or float8 */
  readonly codes: Tensor
  /** [] float32 */
  readonly scale: Tensor
  /** Notes its use, where someone wants to know. */
  use: ActivationUse | null = null
  override readonly handlers: Handlers = quantizedOps
  private floats: Tensor | null = null

  /** Owns `codes` and `scale` from now on. */
  constructor(qtype: QType, codes: Tensor, scale: Tensor) {
    checkTensor('QActivation', 'codes', codes)
    checkTensor('QActivation', 'scale', scale)
    super(null, codes.shape, 'float32')
    this.qtype = qtype
    this.codes = keep(codes)
    this.scale = keep(scale)
  }

  /**
   * q = clamp(rne(x / scale)), or the nearest float8. A scale that needs a gradient is learned (LSQ): then
   * none passes to what was cut off.
   * @param x [...] float32
   * @param scale [] float32
   */
  static quantize(x: Tensor, qtype: QType, scale: Tensor): QActivation {
    if (needsGrad(scale) && qtype.dtype !== 'int8')
      throw new DTypeError(`quantizeActivation: scales are learned of int8 only; received ${qtype.name}`)
    return quantizeActivation(x, qtype, scale)
  }

  /** Other codes, of the same scale or another. */
  withCodes(codes: Tensor, scale = this.scale.detach()): QActivation {
    const y = new QActivation(this.qtype, codes, scale)
    y.use = this.use
    return y
  }

  /** Other values x in codes of this type. */
  requantize(x: Tensor, scale: Tensor): QActivation {
    return QActivation.quantize(x, this.qtype, scale)
  }

  /**
   * Whether both have their scale from the same place, so that it is known to be equal without reading it.
   */
  sharesScale(other: QActivation): boolean {
    return this.scale.storage === other.scale.storage && this.scale.byteOffset === other.scale.byteOffset
  }

  /** The codes as float32: whole numbers, of int8. */
  codeValues(): Tensor {
    const one = Tensor.empty(this.device, [])
    this.device.call('fill', { y: one, value: 1, count: 1 })
    return decodeRows(this.codes, { scale: one }, this.qtype)
  }

  override get isMeta(): boolean {
    return false
  }

  override get device(): Device {
    return this.codes.device
  }

  /** Of the floats, made at the first call. */
  override get storage(): Storage {
    return this.dequantized().storage
  }

  /** The floats, made at the first call. */
  dequantized(): Tensor {
    if (!this.floats) {
      this.floats = keep(decodeRows(this.codes, this, this.qtype))
      if (this.use) this.use.dequantized++
    }
    return this.floats
  }

  /** The floats that the codes stand for. */
  override dequantize(): Tensor {
    return dequantizeActivation(this)
  }

  override dispose(): void {
    super.dispose()
    this.codes.dispose()
    this.scale.dispose()
    this.floats?.dispose()
    this.floats = null
  }

  override toString(): string {
    return `QActivation ${this.qtype.name} ${showShape(this.shape)}${placeOf(this)}`
  }
}

/** See `QActivation.quantize`. */
export const quantizeActivation = op(
  'quantizeActivation(x, qtype, scale)',
  (x: Tensor, qtype: QType, scale: Tensor): QActivation => {
    check('quantizeActivation', 'qtype', qtype, aQType)
    if (qtype.bits !== 8 || qtype.unsigned)
      throw new DTypeError(`quantizeActivation: the type must be int8 or float8; received ${qtype.name}`)
    checkDType('quantizeActivation', 'x', x, 'float32')
    checkShape('quantizeActivation', 'scale', scale, [])
    return new QActivation(qtype, encodeRows(x, { scale }, qtype), scale.detach())
  },
  ({ dy, needs }, x, qtype, scale): Gradient[] => {
    if (!needs(scale)) return [dy]
    const [dx, dscale] = learnedGradients(dy, x, scale, qtype)
    return [dx, null, dscale]
  },
)

const dequantizeActivation = op(
  'dequantize(x)',
  (x: QActivation): Tensor => {
    const y = x.dequantized()
    return y.view(y.shape)
  },
  ({ dy }) => [dy],
)

/**
 * The gradients of x and its scale, the latter by 1 / √(values of one sample · qmax), so that it moves about
 * as fast as weights do.
 * Source: Esser et al., "Learned Step Size Quantization", 2020, section 2.2.
 */
function learnedGradients(dy: Tensor, x: Tensor, scale: Tensor, { qmin, qmax }: QType): Gradient[] {
  const features = x.shape.length > 1 ? x.numel / x.shape[0] : x.numel
  const options = { qmin, qmax, gradFactor: 1 / Math.sqrt(features * qmax) }
  return fakeQuantizeGradients(dy, x, scale, options, true)
}
