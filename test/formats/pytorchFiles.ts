import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What scripts/make-pytorch-fixtures.py wrote with PyTorch. */
export const fixtures = join(import.meta.dirname, '../golden/pytorch')

/** Every fixture that is a single file, by name. */
export const files: ReadonlyMap<string, Buffer> = new Map(
  readdirSync(fixtures)
    .filter((name) => name.endsWith('.pt'))
    .map((name) => [name, readFileSync(join(fixtures, name))]),
)

/** Bytes of an archive with one pickle, and of each storage. */
export function archive(pickle: Uint8Array, storages: Record<string, Uint8Array> = {}, method = 0): Buffer {
  const files: Record<string, Uint8Array> = { 'x/data.pkl': pickle }
  for (const [key, bytes] of Object.entries(storages)) files[`x/data/${key}`] = bytes
  const [parts, records]: Buffer[][] = [[], []]
  let offset = 0
  for (const [name, bytes] of Object.entries(files)) {
    const header = Buffer.alloc(30)
    header.writeUInt32LE(0x04034b50)
    header.writeUInt16LE(name.length, 26)
    const record = Buffer.alloc(46)
    record.writeUInt32LE(0x02014b50)
    record.writeUInt16LE(method, 10)
    for (const at of [20, 24]) record.writeUInt32LE(bytes.length, at)
    record.writeUInt16LE(name.length, 28)
    record.writeUInt32LE(offset, 42)
    parts.push(header, Buffer.from(name), Buffer.from(bytes))
    records.push(record, Buffer.from(name))
    offset += 30 + name.length + bytes.length
  }
  const directory = Buffer.concat(records)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50)
  end.writeUInt16LE(Object.keys(files).length, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, directory, end])
}
