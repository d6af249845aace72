import type { DType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import type { Shape } from '../core/shape.ts'
import { show } from './json.ts'

/** Where a tensor lies and what it is; its bytes stay in the file. */
export interface TensorInfo {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
  readonly byteLength: number
  /** From the start of its file. */
  readonly byteOffset: number
}

/** Named tensors in one file or in several, read one at a time. */
export interface TensorFile {
  /** What messages call it. */
  readonly name: string
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /**
   * Tensors of a dtype that lowbit has no values for, with the file's name for it; only asking for one is an
   * error.
   */
  readonly unsupported: ReadonlyMap<string, string>
  /**
   * The bytes of a tensor, row-major, little-endian.
   * @throws FormatError if there is none of that name, or its dtype is unsupported.
   */
  read(name: string): Promise<Uint8Array>
  close(): Promise<void>
}

/** A tensor about to be written; its bytes are asked for when their turn comes. */
export interface TensorToWrite {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
  bytes(): Promise<Uint8Array> | Uint8Array
}

/**
 * The tensor called `name`.
 * @throws FormatError if the file does not hold it, or its dtype is unsupported.
 */
export function tensorInfo(
  file: Pick<TensorFile, 'name' | 'tensors' | 'unsupported'>,
  name: string,
): TensorInfo {
  const info = file.tensors.get(name)
  if (info) return info
  const dtype = file.unsupported.get(name)
  const problem =
    dtype === undefined
      ? 'must be in the file; it is not'
      : `must have a dtype that lowbit reads; it has ${dtype}`
  throw new FormatError(`${file.name}: tensor ${show(name)} ${problem}`, { tensor: name })
}
