import type { DType } from './dtype.ts'
import { DTypeError } from './errors.ts'

/**
 * Which values a quantized tensor holds. A code q stands for the weight
 *
 *     signed      w = scale · q           q an integer around 0, or float8
 *     unsigned    w = scale · q − shift   q from 0 up, the shift a float (quanto's convention: shift = −min)
 */
export interface QType {
  /** quanto's name, as saved in `quanto_qmap.json`; quanto has no qint5. */
  readonly name: 'qint2' | 'qint4' | 'qint5' | 'qint8' | 'qfloat8_e4m3fn' | 'qfloat8_e5m2' | 'qfloat8_e4m3fnuz'
  /** Its number in the kernels' ABI. */
  readonly code: number
  /** Bits per code, without scales. */
  readonly bits: 2 | 4 | 5 | 8
  /** Whether codes start at 0 and a shift or a zero point moves them to the weights; else they lie around 0. */
  readonly unsigned: boolean
  /** Codes are float8 of this dtype, or integers. */
  readonly dtype: DType
  /** Smallest and largest value of a code. */
  readonly qmin: number
  readonly qmax: number
}

export const qint2: QType = { name: 'qint2', code: 0, bits: 2, unsigned: true, dtype: 'uint8', qmin: 0, qmax: 3 }
export const qint4: QType = { name: 'qint4', code: 1, bits: 4, unsigned: true, dtype: 'uint8', qmin: 0, qmax: 15 }
export const qint8: QType = { name: 'qint8', code: 2, bits: 8, unsigned: false, dtype: 'int8', qmin: -128, qmax: 127 }
export const qfloat8_e4m3fn: QType = {
  name: 'qfloat8_e4m3fn',
  code: 3,
  bits: 8,
  unsigned: false,
  dtype: 'float8_e4m3fn',
  qmin: -448,
  qmax: 448,
}
export const qfloat8_e5m2: QType = {
  name: 'qfloat8_e5m2',
  code: 4,
  bits: 8,
  unsigned: false,
  dtype: 'float8_e5m2',
  qmin: -57344,
  qmax: 57344,
}
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
export const qint5: QType = { name: 'qint5', code: 6, bits: 5, unsigned: true, dtype: 'uint8', qmin: 0, qmax: 31 }
/** quanto's alias. */
export const qfloat8 = qfloat8_e4m3fn

/** The quantized types that quanto has, and that its files may name. */
export const qtypes: readonly QType[] = [qint2, qint4, qint8, qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz]

/** All quantized types, at the index that is their code. */
export const qtypesByCode: readonly QType[] = [...qtypes, qint5]

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
  if (typeof type !== 'string') return type
  const name = type.startsWith('q') ? type : `q${type}`
  const found = name === 'qfloat8' ? qfloat8 : qtypes.find((qtype) => qtype.name === name)
  if (found) return found
  throw new DTypeError(
    `${what} must be int2, int4, int8, float8, float8_e4m3fn, float8_e5m2 or float8_e4m3fnuz; received ${JSON.stringify(type)}`,
  )
}
