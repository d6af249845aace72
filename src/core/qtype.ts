import type { DType } from './dtype.ts'
import { DTypeError } from './errors.ts'
import { type Kind, show } from './kinds.ts'

/**
 * Which values a quantized tensor holds. A code q stands for the weight
 *
 *     signed      w = scale · q           q an integer around 0, or float8
 *     unsigned    w = scale · q − shift   q from 0 up, the shift a float (quanto's convention: shift = −min)
 */
export interface QType {
  /** quanto's name, as saved in `quanto_qmap.json`; quanto has no qint5. */
  readonly name:
    | 'qint2'
    | 'qint4'
    | 'qint5'
    | 'qint8'
    | 'qfloat8_e4m3fn'
    | 'qfloat8_e5m2'
    | 'qfloat8_e4m3fnuz'
  /** Its number in the kernels' ABI. */
  readonly code: number
  /** Bits per code, without scales. */
  readonly bits: 2 | 4 | 5 | 8
  /**
   * Whether codes start at 0 and a shift or a zero point moves them to the weights; else they lie around 0.
   */
  readonly unsigned: boolean
  /** Codes are float8 of this dtype, or integers. */
  readonly dtype: DType
  /** Smallest and largest value of a code. */
  readonly qmin: number
  readonly qmax: number
}

/** Four levels a weight: codes 0 … 3, with a scale and a shift for each group. */
export const qint2: QType = {
  name: 'qint2',
  code: 0,
  bits: 2,
  unsigned: true,
  dtype: 'uint8',
  qmin: 0,
  qmax: 3,
}
/** 16 levels a weight: codes 0 … 15, with a scale and a shift for each group. */
export const qint4: QType = {
  name: 'qint4',
  code: 1,
  bits: 4,
  unsigned: true,
  dtype: 'uint8',
  qmin: 0,
  qmax: 15,
}
/** 8-bit integers around 0, with a scale for each row. */
export const qint8: QType = {
  name: 'qint8',
  code: 2,
  bits: 8,
  unsigned: false,
  dtype: 'int8',
  qmin: -128,
  qmax: 127,
}
/** 8-bit floats with 4 bits of exponent and 3 of mantissa, up to 448, without infinities. */
export const qfloat8_e4m3fn: QType = {
  name: 'qfloat8_e4m3fn',
  code: 3,
  bits: 8,
  unsigned: false,
  dtype: 'float8_e4m3fn',
  qmin: -448,
  qmax: 448,
}
/** 8-bit floats with 5 bits of exponent and 2 of mantissa, up to 57344: more range, fewer digits. */
export const qfloat8_e5m2: QType = {
  name: 'qfloat8_e5m2',
  code: 4,
  bits: 8,
  unsigned: false,
  dtype: 'float8_e5m2',
  qmin: -57344,
  qmax: 57344,
}
/** 8-bit floats with 4 bits of exponent and 3 of mantissa, up to 240, with one zero and no infinities. */
export const qfloat8_e4m3fnuz: QType = {
  name: 'qfloat8_e4m3fnuz',
  code: 5,
  bits: 8,
  unsigned: false,
  dtype: 'float8_e4m3fnuz',
  qmin: -240,
  qmax: 240,
}
/** GGUF's Q5_0 and Q5_1. */
export const qint5: QType = {
  name: 'qint5',
  code: 6,
  bits: 5,
  unsigned: true,
  dtype: 'uint8',
  qmin: 0,
  qmax: 31,
}
/** The float8 that the name `float8` means, quanto's alias of qfloat8_e4m3fn. */
export const qfloat8 = qfloat8_e4m3fn

/** The quantized types that quanto has, and that its files may name. */
export const qtypes: readonly QType[] = [qint2, qint4, qint8, qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz]

/** All quantized types, at the index that is their code. */
export const qtypesByCode: readonly QType[] = [...qtypes, qint5]

/** The quantized types by the names that options take: `int4` or quanto's `qint4`. */
export type QTypeName =
  | QType['name']
  | 'int2'
  | 'int4'
  | 'int8'
  | 'float8'
  | 'qfloat8'
  | 'float8_e4m3fn'
  | 'float8_e5m2'
  | 'float8_e4m3fnuz'

/**
 * The quantized type of that name, with or without quanto's leading `q`.
 * @param what how the message begins: the operation, and what has the type
 * @throws DTypeError if there is none.
 */
export function asQType(type: QType | string, what = 'qtype:'): QType {
  const found = findQType(type)
  if (found) return found
  throw new DTypeError(`${what} must ${aQTypeOrName.must}; received ${show(type)}`)
}

function findQType(type: unknown): QType | undefined {
  if (typeof type !== 'string') return qtypesByCode.find((qtype) => qtype === type)
  const name = type.startsWith('q') ? type : `q${type}`
  return name === 'qfloat8' ? qfloat8 : qtypes.find((qtype) => qtype.name === name)
}

/** A quantized type, or its name. */
export const aQTypeOrName: Kind = {
  must: 'be int2, int4, int8, float8, float8_e4m3fn, float8_e5m2 or float8_e4m3fnuz',
  holds: (value) => findQType(value) !== undefined,
  error: DTypeError,
}

/** A quantized type itself. */
export const aQType: Kind = {
  must: 'be a quantized type such as qint4',
  holds: (value) => typeof value !== 'string' && findQType(value) !== undefined,
  error: DTypeError,
}
