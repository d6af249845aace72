import { FormatError } from '../core/errors.ts'
import { maxTensorInfos, openGguf } from './gguf.ts'
import { type GgufValue, placeGguf } from './ggufWriter.ts'
import type { ByteSource, FolderSink } from './source.ts'

/** What a tensor's weights multiply: the importance of its columns to the output. */
export interface Importance {
  /** Sums of squares of what each column multiplies, one matrix after the other. */
  readonly sums: Float32Array
  /**
   * How many rows they are of; one number for each matrix of the tensor, of which there are several of
   * experts.
   */
  readonly counts: Float32Array
}

/** An importance matrix, as llama.cpp has it. */
export interface ImportanceMatrix {
  /** By the tensor's name in GGUF files, such as `blk.0.attn_q.weight`. */
  readonly entries: ReadonlyMap<string, Importance>
  /** The texts that it was made of. */
  readonly datasets: readonly string[]
  /** Windows of the text, and tokens of each; 0 where a file does not say it. */
  readonly chunks: number
  readonly chunkTokens: number
}

const [sumsSuffix, countsSuffix] = ['.in_sum2', '.counts']

/**
 * Reads an importance matrix that llama.cpp or lowbit wrote. A GGUF file holds of each tensor
 *
 *     NAME.in_sum2   [matrices, columns] float32    sums of squares
 *     NAME.counts    [matrices, 1] float32          rows that they are of
 *
 * and what was read under `imatrix.datasets`, `imatrix.chunk_count` and `imatrix.chunk_size`. Files of the
 * older kind are, in little-endian order,
 *
 *     int32 entries, and of each: int32 bytes of the name, the name, int32 chunks, int32 values, float32 values
 *     int32 chunks, int32 bytes of the data set's name, the name                                 perhaps absent
 *
 * whose values are means of squares times the number of chunks. Takes over `source`.
 * Source: llama.cpp, tools/imatrix/imatrix.cpp and common/imatrix-loader.cpp.
 * @throws FormatError if it is neither
 */
export async function readImatrix(source: ByteSource): Promise<ImportanceMatrix> {
  const magic = source.size < 4 ? null : await source.read(0, 4)
  if (magic && String.fromCharCode(...magic) === 'GGUF') return readGgufImatrix(source)
  try {
    return await readOldImatrix(source)
  } finally {
    await source.close()
  }
}

async function readGgufImatrix(source: ByteSource): Promise<ImportanceMatrix> {
  const file = await openGguf(source)
  try {
    const { metadata, tensors } = file
    const entries = new Map<string, Importance>()
    const floats = async (name: string) => {
      const info = tensors.get(name)
      if (info?.dtype !== 'float32')
        throw new FormatError(`${file.name}: an importance matrix must have ${name}, float32`, {
          tensor: name,
        })
      return new Float32Array((await file.read(name)).slice().buffer)
    }
    for (const stored of tensors.keys()) {
      if (!stored.endsWith(sumsSuffix)) continue
      const name = stored.slice(0, -sumsSuffix.length)
      entries.set(name, checked(file.name, name, await floats(stored), await floats(name + countsSuffix)))
    }
    if (entries.size === 0)
      throw new FormatError(`${file.name}: an importance matrix must hold sums of squares; there are none`)
    const datasets = metadata.has('imatrix.datasets') ? metadata.strings('imatrix.datasets') : []
    const number = (key: string) => (metadata.has(key) ? metadata.count(key) : 0)
    return {
      ...{ entries, datasets },
      ...{ chunks: number('imatrix.chunk_count'), chunkTokens: number('imatrix.chunk_size') },
    }
  } finally {
    await file.close()
  }
}

function checked(file: string, name: string, sums: Float32Array, counts: Float32Array): Importance {
  const fits = counts.length > 0 && sums.length > 0 && sums.length % counts.length === 0
  if (fits && [...sums, ...counts].every((value) => Number.isFinite(value) && value >= 0))
    return { sums, counts }
  throw new FormatError(
    `${file}: ${name} must have sums of squares from 0 up, for each of its ${counts.length} matrices; it has ${sums.length} numbers`,
    { tensor: name },
  )
}

async function readOldImatrix(source: ByteSource): Promise<ImportanceMatrix> {
  let at = 0
  const bytes = async (length: number, what: string) => {
    if (length < 0 || at + length > source.size)
      throw new FormatError(
        `${source.name}: ${what} must lie in the file's ${source.size} bytes; it has ${length} from ${at} on`,
        { byteOffset: at },
      )
    const read = (await source.read(at, length)).slice()
    at += length
    return read
  }
  const int = async (what: string) => new DataView((await bytes(4, what)).buffer).getInt32(0, true)
  const text = async (what: string) => new TextDecoder().decode(await bytes(await int(what), what))
  const count = await int('the number of tensors')
  if (count < 1 || count > maxTensorInfos)
    throw new FormatError(
      `${source.name}: an importance matrix must hold 1 to ${maxTensorInfos} tensors; it has ${count}`,
      { byteOffset: 0 },
    )
  const entries = new Map<string, Importance>()
  for (let i = 0; i < count; i++) {
    const name = await text(`the name of tensor ${i}`)
    const chunks = await int(`the chunks of ${name}`)
    const values = await bytes(4 * (await int(`the values of ${name}`)), `the values of ${name}`)
    entries.set(name, checked(source.name, name, new Float32Array(values.buffer), Float32Array.of(chunks)))
  }
  if (at === source.size) return { entries, datasets: [], chunks: 0, chunkTokens: 0 }
  const chunks = await int('the number of chunks')
  const dataset = at === source.size ? '' : await text('the name of the data set')
  return { entries, datasets: dataset === '' ? [] : [dataset], chunks, chunkTokens: 0 }
}

/** Writes an importance matrix as a GGUF file, as llama.cpp does since 2025. */
export async function writeImatrix(
  folder: FolderSink,
  file: string,
  matrix: ImportanceMatrix,
): Promise<void> {
  const entries = sorted(matrix)
  const metadata = new Map<string, GgufValue>([
    ['general.type', { type: 'string', value: 'imatrix' }],
    ['imatrix.datasets', { type: 'string', values: matrix.datasets }],
    ['imatrix.chunk_count', { type: 'uint32', value: matrix.chunks }],
    ['imatrix.chunk_size', { type: 'uint32', value: matrix.chunkTokens }],
  ])
  const dtype = 'float32' as const
  const heads = entries.flatMap(([name, { sums, counts }]) => [
    { name: name + sumsSuffix, dtype, shape: [counts.length, sums.length / counts.length] },
    { name: name + countsSuffix, dtype, shape: [counts.length, 1] },
  ])
  const placed = await placeGguf(folder, file, metadata, heads)
  for (const [name, { sums, counts }] of entries) {
    await placed.put(name + sumsSuffix, 0, bytesOf(sums))
    await placed.put(name + countsSuffix, 0, bytesOf(counts))
  }
  await placed.close()
}

/** Writes it as a file of the older kind, `.dat`. */
export async function writeOldImatrix(
  folder: FolderSink,
  file: string,
  matrix: ImportanceMatrix,
): Promise<void> {
  const entries = sorted(matrix)
  const tokens = matrix.chunkTokens || 1
  const sink = await folder.create(file)
  const int = (value: number) => sink.write(bytesOf(Int32Array.of(value)))
  const text = async (value: string) => {
    const bytes = new TextEncoder().encode(value)
    await int(bytes.length)
    await sink.write(bytes)
  }
  await int(entries.length)
  for (const [name, { sums, counts }] of entries) {
    const chunks = Math.ceil(Math.max(...counts) / tokens)
    const columns = sums.length / counts.length
    // Of a matrix without rows all columns are alike.
    const values = sums.map((sum, i) => {
      const count = counts[Math.floor(i / columns)]
      return chunks * (count === 0 ? 1 : sum / count)
    })
    await text(name)
    await int(chunks)
    await int(values.length)
    await sink.write(bytesOf(values))
  }
  await int(matrix.chunks)
  await text(matrix.datasets.at(-1) ?? '')
  await sink.close()
}

/** By name, and those alone of which rows came. */
function sorted({ entries }: ImportanceMatrix): [string, Importance][] {
  return [...entries]
    .filter(([, { counts }]) => counts.some((count) => count > 0))
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Int32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}
