import type { DType } from './dtype.ts'
import { DTypeError } from './errors.ts'
import { decodeFloat } from './halves.ts'
import { type Kind, show } from './kinds.ts'
import {
  fp4,
  nf4,
  qfloat8_e4m3fn,
  qfloat8_e4m3fnuz,
  qfloat8_e5m2,
  qint1,
  qint2,
  qint3,
  qint4,
  qint5,
  qint6,
  qint7,
  qint8,
  qtypesByCode,
  quint8,
  type TypeName,
} from './qtypes.ts'

export * from './qtypes.ts'

/**
 * Which values a quantized tensor holds. A code q stands for the value v(q), and that for the weight
 *
 *     unsigned    w = scale · q − shift   q from 0 up; the shift a float, or scale · z of an integer zero point z
 *     signed      w = scale · q           q an integer around 0
 *     float       w = scale · v(q)        q a pattern of 8 bits
 *     codebook    w = scale · v(q)        v a table
 *
 * The types are the lines of native/types.def.
 */
export interface QType {
  /** Where quanto has the type, quanto's name of it. */
  readonly name: TypeName
  /** Its number in the kernels' ABI. */
  readonly code: number
  /** Bits per code, without scales. */
  readonly bits: number
  readonly values: 'unsigned' | 'signed' | 'float' | 'codebook'
  /** Whether codes start at 0 and a shift or a zero point moves them to the weights. */
  readonly unsigned: boolean
  /** That of codes, one byte each: uint8 (codebooks too), int8 or a float8. */
  readonly dtype: DType
  /** The smallest and the largest value of a code. */
  readonly qmin: number
  readonly qmax: number
  /** The values of the codes, float32. */
  readonly codebook?: readonly number[]
}

/** The value of a code, one byte, of a type. */
export function valueOfCode({ values, dtype, codebook }: QType, code: number): number {
  if (values === 'float') return decodeFloat(dtype, code)
  if (codebook) return Math.fround(codebook[code])
  return values === 'signed' ? (code << 24) >> 24 : code
}

/** The float8 that the name `float8` means, quanto's alias of qfloat8_e4m3fn. */
export const qfloat8 = qfloat8_e4m3fn

/** The quantized types that have names which options take. */
export const qtypes: readonly QType[] = [
  qint2,
  qint3,
  qint4,
  qint8,
  qfloat8_e4m3fn,
  qfloat8_e5m2,
  qfloat8_e4m3fnuz,
  nf4,
  fp4,
]

/** The types of codes from 0 up, of 1, 2, … 8 bits. */
export const unsignedTypes: readonly QType[] = [qint1, qint2, qint3, qint4, qint5, qint6, qint7, quint8]

/** That of 1 to 8 bits. */
export function unsignedType(bits: number): QType {
  return unsignedTypes[bits - 1]
}

/** The quantized types by the names that options take: `int4` or quanto's `qint4`. */
export type QTypeName =
  | TypeName
  | 'int2'
  | 'int3'
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
  if (name === 'qfloat8') return qfloat8
  return qtypes.find((qtype) => qtype.name === name || qtype.name === type)
}

/** A quantized type, or its name. */
export const aQTypeOrName: Kind = {
  must: 'be int2, int3, int4, int8, float8, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, nf4 or fp4',
  holds: (value) => findQType(value) !== undefined,
  error: DTypeError,
}

/** A quantized type itself. */
export const aQType: Kind = {
  must: 'be a quantized type such as qint4',
  holds: (value) => typeof value !== 'string' && findQType(value) !== undefined,
  error: DTypeError,
}
