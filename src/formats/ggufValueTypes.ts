/** A type of numbers in a GGUF file's metadata. */
export interface GgufNumberType {
  readonly bytes: number
  read(view: DataView, at: number): number | bigint
  write(view: DataView, at: number, value: number | bigint): void
}

/** The names of the types of numbers, true and false among them. */
export type GgufNumberName =
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'uint32'
  | 'int32'
  | 'float32'
  | 'bool'
  | 'uint64'
  | 'int64'
  | 'float64'

/** A type of metadata: its name, and of numbers how one is read and written. */
export interface GgufValueType {
  readonly name: string
  readonly number?: GgufNumberType
}

const numbers: Record<GgufNumberName, GgufNumberType> = {
  uint8: {
    bytes: 1,
    read: (view, at) => view.getUint8(at),
    write: (view, at, value) => view.setUint8(at, Number(value)),
  },
  int8: {
    bytes: 1,
    read: (view, at) => view.getInt8(at),
    write: (view, at, value) => view.setInt8(at, Number(value)),
  },
  uint16: {
    bytes: 2,
    read: (view, at) => view.getUint16(at, true),
    write: (view, at, value) => view.setUint16(at, Number(value), true),
  },
  int16: {
    bytes: 2,
    read: (view, at) => view.getInt16(at, true),
    write: (view, at, value) => view.setInt16(at, Number(value), true),
  },
  uint32: {
    bytes: 4,
    read: (view, at) => view.getUint32(at, true),
    write: (view, at, value) => view.setUint32(at, Number(value), true),
  },
  int32: {
    bytes: 4,
    read: (view, at) => view.getInt32(at, true),
    write: (view, at, value) => view.setInt32(at, Number(value), true),
  },
  float32: {
    bytes: 4,
    read: (view, at) => view.getFloat32(at, true),
    write: (view, at, value) => view.setFloat32(at, Number(value), true),
  },
  bool: {
    bytes: 1,
    read: (view, at) => view.getUint8(at),
    write: (view, at, value) => view.setUint8(at, Number(value)),
  },
  uint64: {
    bytes: 8,
    read: (view, at) => view.getBigUint64(at, true),
    write: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
  },
  int64: {
    bytes: 8,
    read: (view, at) => view.getBigInt64(at, true),
    write: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
  },
  float64: {
    bytes: 8,
    read: (view, at) => view.getFloat64(at, true),
    write: (view, at, value) => view.setFloat64(at, Number(value), true),
  },
}

/** The types in the order of their ids. */
const names = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
] as const

/** The value types at the index that is their id; numbers with how to read and write one. */
export const ggufValueTypes: readonly GgufValueType[] = names.map((name) =>
  name === 'string' || name === 'array' ? { name } : { name, number: numbers[name] },
)
