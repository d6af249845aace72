import { type DType, dtypes, type HostArray } from '../core/dtype.ts'
import { DTypeError } from '../core/errors.ts'
import { encodeFloat } from '../core/halves.ts'
import { show } from '../core/kinds.ts'

/**
 * Numbers as the raw bits of `dtype`, rounded where it is a float.
 * @throws DTypeError if one is no number, or not a value of an integer dtype
 */
export function encodeNumbers(numbers: ArrayLike<number>, dtype: DType): HostArray {
  if (!isList(numbers))
    throw new DTypeError(`fromNumbers: numbers must be a list of numbers; received ${show(numbers)}`)
  const { array, floating } = dtypes[dtype]
  const raw = new array(numbers.length) as HostArray
  for (let i = 0; i < numbers.length; i++) {
    const value = numbers[i]
    if (typeof value !== 'number') throw notNumber(numbers, i)
    if (floating) raw[i] = encodeFloat(dtype, value)
    else {
      const whole = Number.isInteger(value)
      if (whole) raw[i] = dtype === 'int64' ? BigInt(value) : value
      if (!whole || Number(raw[i]) !== value)
        throw new DTypeError(`fromNumbers: numbers must be values of ${dtype}; received ${value} at ${i}`)
    }
  }
  return raw
}

/**
 * What is wrong with a list that holds something else than numbers: mostly other lists, as PyTorch takes
 * them.
 */
function notNumber(numbers: ArrayLike<unknown>, at: number): DTypeError {
  const value = numbers[at]
  if (!isList(value))
    return new DTypeError(`fromNumbers: numbers must be numbers; received ${show(value)} at ${at}`)
  const shape: number[] = []
  for (let inner: unknown = numbers; isList(inner); inner = inner[0]) shape.push(inner.length)
  const flat = `values.flat(${shape.length > 2 ? shape.length - 1 : ''})`
  return new DTypeError(
    `fromNumbers: numbers must be one flat list; received nested ones: give ${flat} and the shape [${shape}]`,
  )
}

function isList(value: unknown): value is ArrayLike<unknown> {
  return typeof value === 'object' && value !== null && 'length' in value && Number.isInteger(value.length)
}

/** The dtype whose values the array holds. @throws DTypeError for 16-bit patterns, which may be of two */
export function dtypeOfArray(array: HostArray): DType {
  if (array instanceof Float32Array) return 'float32'
  if (array instanceof Int32Array) return 'int32'
  if (array instanceof Int8Array) return 'int8'
  if (array instanceof BigInt64Array) return 'int64'
  if (array instanceof Uint8Array) return 'uint8'
  throw new DTypeError('fromArray: 16-bit patterns may be float16 or bfloat16; name the dtype')
}
