import { type DType, dtypes, type HostArray } from './dtype.ts'
import { DTypeError } from './errors.ts'

/*
 * Conversions between float32 and the small floats, round to nearest, ties to even.
 *
 *   float16       s eeeee mmmmmmmmmm     bias 15
 *   bfloat16      s eeeeeeee mmmmmmm     bias 127, the upper half of a float32
 *   e4m3fn        s eeee mmm             bias 7, no infinity, NaN = x1111111, max 448
 *   e5m2          s eeeee mm             bias 15, infinity 11111 00, max 57344
 *   e4m3fnuz      s eeee mmm             bias 8, no infinity, no -0, NaN = 10000000, max 240
 *   e8m0fnu       eeeeeeee               bias 127, powers of two without a sign, NaN = 11111111: scales
 */

const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)

/** Rounds half to even, as `torch.round` and `numpy.round` do; JavaScript's `Math.round` does not. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x)
  const rest = x - floor
  if (rest < 0.5) return floor
  if (rest > 0.5) return floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}

/** A float format of at most 16 bits: sign, exponent, mantissa. */
interface SmallFloat {
  bits: 8 | 16
  mantissaBits: number
  bias: number
  /** The largest finite pattern, without sign. */
  largest: number
  /**
   * What a value that rounds above the largest becomes, infinities included: infinity, the largest (e4m3fn,
   * as torch has it) or NaN.
   */
  overflow: number
  nan: number
  /** One NaN, in the place of -0. */
  fnuz?: true
}

const smallFloats: Partial<Record<DType, SmallFloat>> = {
  float16: { bits: 16, mantissaBits: 10, bias: 15, largest: 0x7bff, overflow: 0x7c00, nan: 0x7e00 },
  bfloat16: { bits: 16, mantissaBits: 7, bias: 127, largest: 0x7f7f, overflow: 0x7f80, nan: 0x7fc0 },
  float8_e4m3fn: { bits: 8, mantissaBits: 3, bias: 7, largest: 0x7e, overflow: 0x7e, nan: 0x7f },
  float8_e5m2: { bits: 8, mantissaBits: 2, bias: 15, largest: 0x7b, overflow: 0x7c, nan: 0x7f },
  float8_e4m3fnuz: {
    bits: 8,
    mantissaBits: 3,
    bias: 8,
    largest: 0x7f,
    overflow: 0x80,
    nan: 0x80,
    fnuz: true,
  },
}

const dtypeNames = Object.keys(dtypes) as DType[]

/** The dtype whose number in the kernels' ABI is `code`. */
export function dtypeOfCode(code: number): DType {
  const name = dtypeNames[code]
  if (name === undefined)
    throw new DTypeError(`dtype: the code must be 0 to ${dtypeNames.length - 1}; received ${code}`)
  return name
}

function smallFloat(dtype: DType): SmallFloat {
  const format = smallFloats[dtype]
  if (!format) throw new DTypeError(`dtype: must be a float; received ${dtype}`)
  return format
}

/** The bit pattern of `value` in `dtype`; float32 gives the nearest float32 itself. */
export function encodeFloat(dtype: DType, value: number): number {
  // Through float32 first, as every kernel does.
  if (dtype === 'float32') return Math.fround(value)
  if (dtype === 'float8_e8m0fnu') return encodeScale(value)
  const { bits, mantissaBits, bias, largest, overflow, nan, fnuz } = smallFloat(dtype)
  float[0] = value
  const signBit = 1 << (bits - 1)
  const sign = floatBits[0] >>> 31 === 0 ? 0 : signBit
  const magnitude = floatBits[0] & 0x7fffffff
  if (magnitude > 0x7f800000) return nan
  let pattern: number
  if (magnitude < (128 - bias) * 2 ** 23) {
    // Below the smallest normal: counted in steps of the subnormals. A carry gives the smallest normal.
    pattern = roundHalfEven(Math.abs(float[0]) * 2 ** (bias - 1 + mantissaBits))
  } else {
    const dropped = 23 - mantissaBits
    const rebiased = magnitude - (127 - bias) * 2 ** 23
    // Adding just under half a step, plus one when the kept part is odd, rounds half to even; a carry moves
    // to the next exponent.
    pattern = (rebiased + (1 << (dropped - 1)) - 1 + ((rebiased >>> dropped) & 1)) >>> dropped
  }
  if (pattern > largest) pattern = overflow
  return fnuz && (pattern === 0 || pattern === nan) ? pattern : sign | pattern
}

/** The exponent of the power of two nearest to |value|, the larger one in the middle, as PyTorch rounds. */
function encodeScale(value: number): number {
  float[0] = value
  const exponent = (floatBits[0] >>> 23) & 255
  const mantissa = floatBits[0] & 0x7fffff
  if (exponent === 255) return 255
  return exponent + Number(mantissa > 0x400000 || (mantissa === 0x400000 && exponent > 0))
}

function decode(
  { bits, mantissaBits, bias, largest, overflow, nan, fnuz }: SmallFloat,
  pattern: number,
): number {
  const signBit = 1 << (bits - 1)
  const magnitude = pattern & (signBit - 1)
  const sign = pattern & signBit ? -1 : 1
  if (fnuz && pattern === nan) return NaN
  if (magnitude > largest) return magnitude === overflow ? sign * Infinity : NaN
  const exponent = magnitude >> mantissaBits
  const mantissa = magnitude & ((1 << mantissaBits) - 1)
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits)
  return sign * (mantissa + (1 << mantissaBits)) * 2 ** (exponent - bias - mantissaBits)
}

/** The value of every pattern, made when a dtype is first decoded. */
const decoded: Partial<Record<DType, Float32Array>> = {}

function valuesOf(dtype: DType): Float32Array {
  if (dtype === 'float8_e8m0fnu')
    decoded[dtype] ??= Float32Array.from({ length: 256 }, (_, pattern) =>
      pattern < 255 ? 2 ** (pattern - 127) : NaN,
    )
  const known = decoded[dtype]
  if (known) return known
  const format = smallFloat(dtype)
  const values = Float32Array.from({ length: 2 ** format.bits }, (_, pattern) => decode(format, pattern))
  decoded[dtype] = values
  return values
}

/** The number that `pattern` stands for in `dtype`. */
export function decodeFloat(dtype: DType, pattern: number): number {
  return dtype === 'float32' ? pattern : valuesOf(dtype)[pattern]
}

/** `value` rounded to the nearest value of `dtype`. */
export function roundTo(dtype: DType, value: number): number {
  return dtype === 'float32' ? Math.fround(value) : decodeFloat(dtype, encodeFloat(dtype, value))
}

/** All values of a raw array as numbers, whatever its dtype. */
export function toNumbers(dtype: DType, raw: HostArray): Float32Array | Float64Array {
  if (dtype === 'float32') return raw as Float32Array
  if (!dtypes[dtype].floating) return Float64Array.from(raw as Int32Array, Number)
  const values = valuesOf(dtype)
  const y = new Float32Array(raw.length)
  for (let i = 0; i < y.length; i++) y[i] = values[raw[i] as number]
  return y
}
