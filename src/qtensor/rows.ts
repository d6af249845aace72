import { type DType, dtypes, type FloatDType } from '../core/dtype.ts'
import type { QType } from '../core/qtype.ts'
import { type ScaleRule, scaleRules } from '../kernels/quantize/chooseScale/chooseScale.ts'
import { Tensor } from '../tensor/tensor.ts'

/*
 * Rows of floats, each with a scale and an offset of its own (or all with one), and their codes. A row is a
 * group where weights are grouped.
 */

/** [rows] scales, or [] for all, with shifts or integer zero points of the same shape; see `decodeRows`. */
export interface RowScales {
  scale: Tensor
  /** As the scale. */
  shift?: Tensor | null
  /** One byte each, as the codes. */
  zeroPoint?: Tensor | null
}

/** The codes that there are. */
export interface CodeRange {
  qmin: number
  qmax: number
}

/** The range around 0 of a signed type, −qmax … qmax: the largest magnitude is code qmax. */
export function symmetricRange({ qmax }: QType): CodeRange {
  return { qmin: -qmax, qmax }
}

/**
 * The least positive number of a float dtype that has all its digits: the least scale where none is given.
 */
export function smallestNormal(dtype: DType): number {
  return dtype === 'float16' ? 2 ** -14 : 2 ** -126
}

/** What `chooseScales` is asked for beside the rule. */
export interface ScaleChoice extends CodeRange {
  /** Which offset is wanted beside the scale; default none. */
  offset?: 'shift' | 'zeroPoint'
  /** The dtype of zero points, and the code that stands for 0: 8 where −8 … 7 is stored as 0 … 15. */
  zeroDtype?: QType['dtype']
  zero?: number
  /** The least scale. */
  epsilon?: number
}

/**
 * The scales of the rows of x, see kernels/quantize/chooseScale.
 * @param x [rows, cols] float32, float16 or bfloat16
 */
export function chooseScales(x: Tensor, rule: ScaleRule, choice: ScaleChoice): Required<RowScales> {
  const { qmin, qmax, offset, zeroDtype = 'int8', zero = 0, epsilon = 0 } = choice
  const cols = x.size(-1)
  const rows = x.numel / cols
  const scale = Tensor.empty(x.device, [rows], x.dtype)
  const shift = offset === 'shift' ? Tensor.empty(x.device, [rows], x.dtype) : null
  const zeroPoint = offset === 'zeroPoint' ? Tensor.empty(x.device, [rows], zeroDtype) : null
  x.device.call('chooseScale', {
    ...{ rule: scaleRules[rule], x, dtype: dtypes[x.dtype].code, scale, shift, zeroPoint },
    ...{ rows, cols, qmin, qmax, zero, epsilon },
  })
  return { scale, shift, zeroPoint }
}

/** Which values share a scale, as kernels take it. */
function runs(values: Tensor, scale: Tensor) {
  const rows = scale.shape.length === 0 ? 1 : scale.numel
  return { rows, cols: values.numel / rows, scaleStride: scale.shape.length === 0 ? 0 : 1 }
}

/**
 * The codes of x, one byte each of the type's dtype: clamp(rne((x + shift) / scale) + zeroPoint, qmin, qmax).
 * @param x of the scales' dtype
 * @param options a range narrower than the type's; whether x is multiplied by 1 / scale, as torchao does
 */
export function encodeRows(
  x: Tensor,
  { scale, shift, zeroPoint }: RowScales,
  qtype: QType,
  { range = qtype, reciprocal = false }: { range?: CodeRange; reciprocal?: boolean } = {},
): Tensor {
  const codes = Tensor.empty(x.device, x.shape, qtype.dtype)
  if (x.numel === 0) return codes
  const { qmin, qmax } = range
  x.device.call('quantize', {
    ...{ x, dtype: dtypes[scale.dtype].code, scale, shift, zeroPoint, codes, ...runs(x, scale) },
    ...{ qtype: qtype.code, qmin, qmax, reciprocal: reciprocal ? 1 : 0 },
  })
  return codes
}

/** The floats of codes, scale · (q − zeroPoint) − shift, in the scales' dtype. */
export function decodeRows(codes: Tensor, { scale, shift, zeroPoint }: RowScales, qtype: QType): Tensor {
  const dtype = scale.dtype as FloatDType
  const y = Tensor.empty(codes.device, codes.shape, dtype)
  if (y.numel === 0) return y
  codes.device.call('dequantize', {
    ...{ codes, qtype: qtype.code, scale, shift, zeroPoint, y, dtype: dtypes[dtype].code },
    ...runs(codes, scale),
  })
  return y
}

/** The floats of the codes of x, in one pass: `decodeRows(encodeRows(x))`, but that NaN stays NaN. */
export function roundRows(x: Tensor, { scale, shift }: Omit<RowScales, 'zeroPoint'>, qtype: QType): Tensor {
  const y = Tensor.empty(x.device, x.shape, x.dtype)
  if (y.numel === 0) return y
  const { code, qmin, qmax } = qtype
  x.device.call('fakeQuantize', {
    ...{ x, dtype: dtypes[x.dtype].code, scale, shift, y, ...runs(x, scale), qtype: code, qmin, qmax },
  })
  return y
}
