import { join } from 'node:path'

/** What Python wrote, made by make.py in the same folder. */
export const fixtures = join(import.meta.dirname, '../golden/gguf/')

/** Little-endian bytes of numbers and of strings with their length, as GGUF has them. */
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
export const u64 = (value: bigint | number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
export const f32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}
export const text = (value: string | Uint8Array, length?: bigint): Buffer => {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([u64(length ?? bytes.length), bytes])
}

/** A value with its type's id. */
export type Value = readonly [type: number, bytes: Buffer]
export const uint32 = (value: number): Value => [4, u32(value)]
export const float32 = (value: number): Value => [6, f32(value)]
export const bool = (value: number): Value => [7, Buffer.from([value])]
export const string = (value: string | Uint8Array): Value => [8, text(value)]
export const strings = (...values: (string | Uint8Array)[]): Value =>
  list(8, values.length, ...values.map((value) => text(value)))
export const list = (type: number, count: bigint | number, ...elements: Buffer[]): Value => [
  9,
  Buffer.concat([u32(type), u64(count), ...elements]),
]

export interface TensorEntry {
  name: string | Uint8Array
  /** Innermost first. */
  sizes: (bigint | number)[]
  type: number
  offset: bigint | number
}

export interface Parts {
  magic?: string
  version?: Buffer
  keyCount?: bigint | number
  tensorCount?: bigint | number
  keys?: Record<string, Value> | (readonly [string | Uint8Array, Value])[]
  tensors?: TensorEntry[]
  alignment?: number
  dataBytes?: number
}

/** A GGUF file of these parts; counts may lie. */
export function gguf({
  magic = 'GGUF',
  version = u32(3),
  keyCount,
  tensorCount,
  keys = [],
  tensors = [],
  alignment = 32,
  dataBytes = 0,
}: Parts): Buffer {
  const entries = Array.isArray(keys) ? keys : Object.entries(keys)
  const header = Buffer.concat([
    Buffer.from(magic),
    version,
    u64(tensorCount ?? tensors.length),
    u64(keyCount ?? entries.length),
    ...entries.flatMap(([key, [type, bytes]]) => [text(key), u32(type), bytes]),
    ...tensors.flatMap(({ name, sizes, type, offset }) => [
      text(name),
      u32(sizes.length),
      ...sizes.map(u64),
      u32(type),
      u64(offset),
    ]),
  ])
  if (tensors.length === 0) return header
  return Buffer.concat([
    header,
    Buffer.alloc(Math.ceil(header.length / alignment) * alignment - header.length + dataBytes),
  ])
}
