// As a whole: zstd is not there before Node 22.15.
import * as zlib from 'node:zlib'
import { FormatError } from '../core/errors.ts'
import type { ByteSource } from './source.ts'

/** What is used of `hyparquet`. */
interface Hyparquet {
  parquetReadObjects(options: {
    file: { byteLength: number; slice(start: number, end?: number): Promise<ArrayBuffer> }
    compressors: Record<string, (bytes: Uint8Array, size: number) => Uint8Array>
  }): Promise<Record<string, unknown>[]>
}

/**
 * The rows of a parquet file, uncompressed or compressed by snappy, gzip or zstd, with their values as JSON
 * has them.
 * @throws FormatError if it cannot be read, or `hyparquet` is not installed
 */
export async function readParquet(source: ByteSource): Promise<Record<string, unknown>[]> {
  const { parquetReadObjects } = await loadHyparquet(source.name)
  const file = {
    byteLength: source.size,
    async slice(start: number, end = source.size) {
      const bytes = await source.read(start, end - start)
      return new Uint8Array(bytes).buffer
    },
  }
  const compressors = { GZIP: (bytes: Uint8Array) => zlib.gunzipSync(bytes), ZSTD: decompressZstd }
  try {
    const rows = await parquetReadObjects({ file, compressors })
    return rows.map((row) => plain(row) as Record<string, unknown>)
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause)
    throw new FormatError(`${source.name}: must be a parquet file that can be read; ${problem}`, { cause })
  }
}

function decompressZstd(bytes: Uint8Array): Uint8Array {
  if (typeof zlib.zstdDecompressSync !== 'function')
    throw new Error(`it is compressed by zstd, which Node ${process.version} cannot read`)
  return zlib.zstdDecompressSync(bytes)
}

/** Parquet's integers of 64 bits become numbers. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]))
}

/** The optional peer that reads parquet. */
async function loadHyparquet(file: string): Promise<Hyparquet> {
  const name = 'hyparquet'
  try {
    return await import(name)
  } catch (cause) {
    throw new FormatError(`${file}: is a parquet file; to read it, install ${name}`, { cause })
  }
}
