import type { DType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import type { Shape } from '../core/shape.ts'
import { show } from './json.ts'
import type { ByteSource } from './source.ts'

/**
 * What the values of a stored tensor are: a dtype of lowbit's, or, where lowbit has no values of the kind,
 * the word of its file in capitals: `U32`, `F8_E8M0`, `Q4_0`. Of these only the bytes can be had.
 */
export type StoredDType = DType | Uppercase<string>

/** Where a tensor lies and what it is; its bytes stay in the file. */
export interface TensorInfo {
  /** Its name in the file, which messages say. */
  readonly name: string
  readonly dtype: StoredDType
  readonly shape: Shape
  /**
   * Whether its values lie column by column: its bytes are then those of the transposed matrix. Default
   * false.
   */
  readonly columnMajor?: boolean
  /**
   * Of a matrix whose rows are turned in pairs: the rows of a head, where row 2i + s of the file is the
   * model's row s · headRows / 2 + i. Absent where the rows stand as in the model.
   */
  readonly headRows?: number
  /** What is added to each of its values as it is read, floats in a dtype of lowbit's; default nothing. */
  readonly added?: number
  readonly byteLength: number
  /** From the start of its file. */
  readonly byteOffset: number
}

/** A tensor of a type that is not known: what its file says of it, such as `type 99`. */
export interface UnknownTensor {
  readonly name: string
  readonly type: string
}

/** Named tensors in one file or in several, read one at a time. */
export interface TensorFile {
  /** What messages call it. */
  readonly name: string
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /**
   * Tensors of which not even the length is known; only asking for one is an error.
   */
  readonly unknown: ReadonlyMap<string, UnknownTensor>
  /** Texts that were saved with the tensors, of all its files, where the container has such. */
  readonly texts?: ReadonlyMap<string, string>
  /**
   * The bytes of a tensor, row-major, little-endian; perhaps a view of shared memory, so not to be written
   * into.
   * @throws FormatError if there is none of that name, or its length is not known
   */
  read(name: string): Promise<Uint8Array>
  /**
   * The bytes of rows `start` to `end` (exclusive) of the first dimension; copied to the start of `into`,
   * where there is one and they have to be copied.
   * @throws FormatError as `read`, and if there are no such rows
   */
  readRows(name: string, start: number, end: number, into?: Uint8Array): Promise<Uint8Array>
  /**
   * `length` bytes of a tensor from its byte `from` on, as `readRows`.
   * @throws FormatError as `read`
   */
  readBytes(name: string, from: number, length: number, into?: Uint8Array): Promise<Uint8Array>
  close(): Promise<void>
}

/** What is known of a tensor before it is written. */
export interface TensorHead {
  readonly name: string
  readonly dtype: StoredDType
  readonly shape: Shape
}

/** A tensor about to be written; its bytes are asked for when their turn comes. */
export interface TensorToWrite extends TensorHead {
  bytes(): Promise<Uint8Array> | Uint8Array
}

/**
 * The tensor called `name`.
 * @throws FormatError if the file does not hold it, or its length is not known
 */
export function tensorInfo(file: Pick<TensorFile, 'name' | 'tensors' | 'unknown'>, name: string): TensorInfo {
  const info = file.tensors.get(name)
  if (info) return info
  const type = file.unknown.get(name)?.type
  const problem =
    type === undefined
      ? 'must be in the file; it is not'
      : `must be of a type that lowbit knows; it is of ${type}`
  throw new FormatError(`${file.name}: tensor ${show(name)} ${problem}`, { tensor: name })
}

/**
 * Where the bytes of rows `start` to `end` (exclusive) lie from a tensor's first, and how many they are.
 * @throws FormatError if there are no such rows
 */
export function bytesOfRows(
  file: Pick<TensorFile, 'name'>,
  { name, shape, byteLength }: TensorInfo,
  start: number,
  end: number,
): { from: number; length: number } {
  const rows = shape[0] ?? 1
  if (!(0 <= start && start <= end && end <= rows))
    throw new FormatError(
      `${file.name}: rows of ${show(name)} must lie in 0..${rows}; asked for ${start}..${end}`,
      { tensor: name },
    )
  const rowBytes = rows === 0 ? 0 : byteLength / rows
  return { from: start * rowBytes, length: (end - start) * rowBytes }
}

/** How the tensors of `file`, which lie in `source` as they stand, are read. */
export function readFrom(
  source: ByteSource,
  file: Pick<TensorFile, 'name' | 'tensors' | 'unknown'>,
): Pick<TensorFile, 'read' | 'readRows' | 'readBytes' | 'close'> {
  return {
    async read(name) {
      const { byteOffset, byteLength } = tensorInfo(file, name)
      return source.read(byteOffset, byteLength)
    },
    async readRows(name, start, end, into) {
      const info = tensorInfo(file, name)
      const { from, length } = bytesOfRows(file, info, start, end)
      return source.read(info.byteOffset + from, length, into)
    },
    async readBytes(name, from, length, into) {
      return source.read(tensorInfo(file, name).byteOffset + from, length, into)
    },
    close: () => source.close(),
  }
}
