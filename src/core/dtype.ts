import { dtypes } from './dtypes.ts'
import { DTypeError } from './errors.ts'
import { type Kind, show } from './kinds.ts'

export { dtypes }

/** The dtypes of tensors, by name. */
export type DType = keyof typeof dtypes

/** The dtypes that float weights are stored in. */
export type FloatDType = 'float32' | 'float16' | 'bfloat16'

/**
 * Bytes in memory of their own: `Uint8Array<ArrayBuffer>`, or `Uint8Array` where TypeScript is older than
 * that parameter (5.7).
 */
export type Bytes = ReturnType<typeof Uint8Array.of>

/** The raw bits of a tensor on the host. */
export type HostArray = Float32Array | Uint16Array | Uint8Array | Int8Array | Int32Array | BigInt64Array

/** @throws DTypeError if `name` is not a dtype. */
export function asDType(name: string, operation = 'dtype:'): DType {
  if (isDType(name)) return name
  throw new DTypeError(
    `${operation} must be one of ${Object.keys(dtypes).join(', ')}; received ${show(name)}`,
  )
}

/** A dtype that float weights are stored in. */
export const aFloatDType: Kind = {
  must: 'be float32, float16 or bfloat16',
  holds: (value) => value === 'float32' || value === 'float16' || value === 'bfloat16',
  error: DTypeError,
}

/** Whether lowbit has values of a dtype that a file names. */
export function isDType(name: string): name is DType {
  return Object.hasOwn(dtypes, name)
}

export function isFloatDType(dtype: string): dtype is FloatDType {
  return dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16'
}

/** `bytes` seen as an array of `dtype`; copies only when their alignment forbids a view. */
export function viewAs(dtype: DType, bytes: Uint8Array): HostArray {
  const { bytes: size, array } = dtypes[dtype]
  // Not slice: that of Node's Buffer makes a view.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes)
  return new array(aligned.buffer as ArrayBuffer, aligned.byteOffset, Math.floor(aligned.byteLength / size))
}
