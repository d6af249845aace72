import { type DType, dtypes } from '../core/dtype.ts'
import { DTypeError, ShapeError } from '../core/errors.ts'
import { aBoolean, check, either, instanceOf, oneOf } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { e2m1, iq4_nl, type QType, qint2, qint3, qint4, qint5, qint6, qint8 } from '../core/qtype.ts'
import { showShape } from '../core/shape.ts'
import {
  type EncodedType,
  encodedTypes,
  typesOfSmallerBlocks,
} from '../kernels/quantize/quantizeBlocks/quantizeBlocks.ts'
import { type Offset, rowsOfBlocks, type Scale, type WeightParts } from '../qtensor/parts.ts'
import type { Quantizer, Statistics } from '../qtensor/quantizer.ts'
import { add, columnSum, div, mul } from '../tensor/ops/index.ts'
import { checkDType, Tensor } from '../tensor/tensor.ts'

/** GGUF's types that weights are quantized to. */
export type GgufQuantizedType = keyof typeof madeOf

/**
 * What the codes that ggml's encoder chooses are to lowbit; the formulas are at
 * kernels/quantize/quantizeBlocks.
 */
interface MadeOf {
  readonly type: QType
  readonly zeroPoint?: number
  /** Of codes of scales. */
  readonly scale?: { readonly bits: number; readonly zero?: number }
}

const madeOf = {
  Q4_0: { type: qint4, zeroPoint: 8 },
  Q4_1: { type: qint4 },
  Q5_0: { type: qint5, zeroPoint: 16 },
  Q5_1: { type: qint5 },
  Q8_0: { type: qint8 },
  Q2_K: { type: qint2, scale: { bits: 4 } },
  Q3_K: { type: qint3, zeroPoint: 4, scale: { bits: 6, zero: 32 } },
  Q4_K: { type: qint4, scale: { bits: 6 } },
  Q5_K: { type: qint5, scale: { bits: 6 } },
  Q6_K: { type: qint6, zeroPoint: 32, scale: { bits: 8 } },
  IQ4_NL: { type: iq4_nl },
  IQ4_XS: { type: iq4_nl, scale: { bits: 6, zero: 32 } },
  TQ2_0: { type: qint2, zeroPoint: 1 },
  MXFP4: { type: e2m1 },
} as const satisfies Record<string, MadeOf>

/** The type of the codes of one of GGUF's types. */
export function ggufCodes(type: GgufQuantizedType): QType {
  return madeOf[type].type
}

/** The type that rows of so many columns become: where they are no whole blocks of it another, as in llama.cpp. */
export function ggufTypeOfColumns(type: GgufQuantizedType, columns: number): GgufQuantizedType {
  if (columns % encodedTypes[type].block === 0) return type
  return (typesOfSmallerBlocks[type] ?? type) as GgufQuantizedType
}

/** How weights are quantized to one of GGUF's types. */
export interface GgufQuantizerOptions {
  /**
   * Whether errors count by the mean square of what a column multiplies, llama.cpp's importance matrix, which
   * `calibrate` collects; or these means [K], of a weight whose importance is known. Default false.
   */
  importance?: boolean | Float32Array
}

const optionKinds: OptionKinds<GgufQuantizerOptions> = {
  importance: either('be true, false or a Float32Array', aBoolean, instanceOf(Float32Array, '')),
}

/** What quantizes to one of GGUF's types. */
export interface GgufQuantizer extends Quantizer {
  /** The same for another type. */
  ofType(type: GgufQuantizedType): GgufQuantizer
}

/** One of GGUF's types that weights are quantized to. */
export const aGgufType = oneOf(...Object.keys(madeOf))

/**
 * Quantizes a weight to one of GGUF's types as ggml does, bit for bit, whatever the size of groups that is
 * asked for. Rows that are no whole blocks of a type become another, as in llama.cpp.
 * @throws ShapeError or DTypeError if there is no such type, or option
 */
export function ggufQuantizer(type: GgufQuantizedType, options: GgufQuantizerOptions = {}): GgufQuantizer {
  check('ggufQuantizer', 'type', type, aGgufType)
  checkOptions('ggufQuantizer', options, optionKinds)
  const { importance = false } = options
  return {
    name: importance ? `${type} by importance` : type,
    ...(importance === true && { collects: collectSquares }),
    ofType: (other) => ggufQuantizer(other, options),
    solve: (weight, spec, statistics) => {
      const { type: codes } = madeOf[type]
      if (spec.type !== codes)
        throw new DTypeError(`${type}: the type must be ${codes.name}; received ${spec.type.name}`)
      const known = importance instanceof Float32Array ? given(type, weight, importance) : null
      return encode(type, weight, importance === true ? importanceOf(statistics) : known)
    },
  }
}

/** Adds the rows x [M, K] to `squares` [K], sums of squares, and to `rows` [1], how many they are of. */
export function collectSquares(x: Tensor, statistics: Statistics): void {
  const more = (name: string, of: Tensor) => {
    const before = statistics.get(name)
    statistics.set(name, before ? add(before, of) : of)
  }
  more('squares', columnSum(mul(x, x), 1))
  more('rows', Tensor.full(x.device, [1], x.shape[0]))
}

function given(type: GgufQuantizedType, { device, shape }: Tensor, importance: Float32Array): Tensor {
  const columns = shape[shape.length - 1]
  if (importance.length !== columns)
    throw new ShapeError(
      `${type}: importance must be of the weight's ${columns} columns; received ${importance.length} numbers`,
    )
  return Tensor.fromArray(device, importance, [columns])
}

function importanceOf(statistics: Statistics | null | undefined): Tensor | null {
  const [squares, rows] = [statistics?.get('squares'), statistics?.get('rows')]
  return squares && rows ? div(squares, rows) : null
}

function encode(type: GgufQuantizedType, weight: Tensor, importance: Tensor | null): WeightParts {
  checkDType(type, 'weight', weight, 'float32', 'float16', 'bfloat16')
  const [N, K] = weight.shape
  const fitting = weight.shape.length === 2 ? ggufTypeOfColumns(type, K) : type
  if (fitting !== type) return encode(fitting, weight, importance)
  const encoded = encodedTypes[type]
  const made: MadeOf = madeOf[type]
  if (weight.shape.length !== 2 || K % encoded.block !== 0)
    throw new ShapeError(
      `${type}: the weight must be [N,K], K a multiple of ${encoded.block}; received ${showShape(weight.shape)}`,
    )
  const { device, shape, dtype } = weight
  const size = encoded.group || encoded.block
  const block = { kind: 'group', size } as const
  const groups = rowsOfBlocks(block, shape) as [number, number]
  const codes = Tensor.empty(device, shape, made.type.dtype)
  const scale = valuesOf(encoded, made, weight)
  const shift = encoded.shift ? valuesOf(encoded, made, weight) : null
  device.call('quantizeBlocks', {
    ...{ x: weight, dtype: dtypes[dtype].code, importance, type: encoded.type, codes },
    ...{ scale: scale.plain, shift: shift?.plain ?? null },
    ...{ scaleCodes: scale.codes, shiftCodes: shift?.codes ?? null },
    ...{ rows: N, cols: K },
  })
  const offset = shift
    ? ({ kind: 'shift', ...asScale(shift, made, groups) } as Offset)
    : made.zeroPoint === undefined
      ? null
      : ({ kind: 'zeroPoint', value: made.zeroPoint } as const)
  return {
    type: made.type,
    shape,
    dtype: 'float32',
    codes,
    block,
    scale: asScale(scale, made, groups),
    offset,
  }
}

/** Scales, or shifts: the numbers, and their codes where they are quantized once more. */
interface Values {
  readonly plain: Tensor
  readonly codes: Tensor | null
}

function valuesOf({ block, group, scaleBytes }: EncodedType, { scale }: MadeOf, weight: Tensor): Values {
  const [N, K] = weight.shape
  const dtype: DType = scaleBytes === 1 ? 'float8_e8m0fnu' : 'float16'
  const codes = scale && Tensor.empty(weight.device, [N, K / group], scale.bits === 8 ? 'int8' : 'uint8')
  return { plain: Tensor.empty(weight.device, [N, K / block], dtype), codes: codes ?? null }
}

function asScale({ plain, codes }: Values, { scale }: MadeOf, groups: [number, number]): Scale {
  if (!codes) return { values: plain }
  const blockSize = codes.numel / plain.numel
  return { codes: codes.view(groups), ...scale, blockSize, values: plain.view([plain.numel]) }
}

/** Those that take no importance, by GGUF's names in small letters. */
export const ggufQuantizers: Readonly<Record<Lowercase<GgufQuantizedType>, Quantizer>> = Object.fromEntries(
  (Object.keys(madeOf) as GgufQuantizedType[]).map((type): [string, Quantizer] => [
    type.toLowerCase(),
    ggufQuantizer(type),
  ]),
) as Record<Lowercase<GgufQuantizedType>, Quantizer>
