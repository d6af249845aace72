import type { DType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { numel, type Shape, showShape } from '../core/shape.ts'
import { JsonObject, parseJson, show } from './json.ts'
import type { ByteSource } from './source.ts'
import { readFrom, type StoredDType, type TensorFile, type TensorInfo } from './tensorFile.ts'

/**
 * The reference implementation's limit on the header.
 * Source: https://github.com/huggingface/safetensors, safetensors/src/tensor.rs, `MAX_HEADER_SIZE`.
 */
export const maxHeaderBytes = 100_000_000

/**
 * Every dtype of the format: its bits per value, and lowbit's name for it where lowbit has values of that
 * kind. In the order that the reference writer sorts by: a file holds its tensors from the last of these to
 * the first.
 * Source: https://github.com/huggingface/safetensors, safetensors/src/tensor.rs, `Dtype`.
 */
export const safetensorsDTypes: Readonly<Record<string, { bits: number; dtype?: DType }>> = {
  BOOL: { bits: 8, dtype: 'bool' },
  F4: { bits: 4 },
  F6_E2M3: { bits: 6 },
  F6_E3M2: { bits: 6 },
  U8: { bits: 8, dtype: 'uint8' },
  I8: { bits: 8, dtype: 'int8' },
  F8_E5M2: { bits: 8, dtype: 'float8_e5m2' },
  F8_E4M3: { bits: 8, dtype: 'float8_e4m3fn' },
  F8_E8M0: { bits: 8, dtype: 'float8_e8m0fnu' },
  F8_E4M3FNUZ: { bits: 8, dtype: 'float8_e4m3fnuz' },
  F8_E5M2FNUZ: { bits: 8 },
  I16: { bits: 16 },
  U16: { bits: 16 },
  F16: { bits: 16, dtype: 'float16' },
  BF16: { bits: 16, dtype: 'bfloat16' },
  I32: { bits: 32, dtype: 'int32' },
  U32: { bits: 32 },
  F32: { bits: 32, dtype: 'float32' },
  C64: { bits: 64 },
  F64: { bits: 64 },
  I64: { bits: 64, dtype: 'int64' },
  U64: { bits: 64 },
}

/** The format's word for a dtype of lowbit's; a word of a file stands for itself. */
export function safetensorsWord(dtype: StoredDType): string {
  const found = Object.entries(safetensorsDTypes).find(([, known]) => known.dtype === dtype)
  return found ? found[0] : dtype
}

/** The bytes that values take in a safetensors file. @throws FormatError if it has no such dtype */
export function storedBytes(dtype: StoredDType, shape: Shape): number {
  const known = safetensorsDTypes[safetensorsWord(dtype)]
  if (known) return Math.ceil((numel(shape) * known.bits) / 8)
  throw new FormatError(`safetensors: a tensor's dtype must be one of the format's; received ${dtype}`)
}

/** Tensors, and the texts that were saved with them (`__metadata__`). */
export interface SafetensorsFile extends TensorFile {
  readonly texts: ReadonlyMap<string, string>
}

/**
 * The tensors of a safetensors file, whose layout is
 *
 *     bytes 0..7      n, the header's length, little-endian
 *     bytes 8..8+n    the header: {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},…,"__metadata__":{"key":"text"}}
 *     from 8+n on     the tensors, back to back, at the offsets given, to the end of the file
 *
 * Takes over `source`: closes it when it is refused, and with the file.
 * @throws FormatError if the header is not of that form, or its tensors do not cover the rest of the file
 * exactly.
 */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  try {
    const { header, dataStart } = await readHeader(source)
    const infos = header
      .keys()
      .filter((name) => name !== '__metadata__')
      .map((name) => readEntry(header, name, dataStart))
    infos.sort((a, b) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength)
    checkCoverage(source, infos, dataStart)
    const tensors = new Map(infos.map((info) => [info.name, info]))
    const file = { name: source.name, tensors, unknown: new Map() }
    return { ...file, texts: readTexts(header), ...readFrom(source, file) }
  } catch (error) {
    await source.close()
    throw error
  }
}

async function readHeader(source: ByteSource): Promise<{ header: JsonObject; dataStart: number }> {
  const { name, size } = source
  if (size < 8)
    throw new FormatError(`${name}: a safetensors file must have at least 8 bytes; it has ${size}`, {
      byteOffset: 0,
    })
  const prefix = await source.read(0, 8)
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true)
  if (length > maxHeaderBytes) {
    throw new FormatError(
      `${name}: the header must have at most ${maxHeaderBytes} bytes; its length says ${length}`,
      { byteOffset: 0 },
    )
  }
  const dataStart = 8 + Number(length)
  if (dataStart > size) {
    throw new FormatError(
      `${name}: the header must lie within the file's ${size} bytes; it ends at ${dataStart}`,
      { byteOffset: 0 },
    )
  }
  const bytes = await source.read(8, dataStart - 8)
  try {
    const header = new JsonObject(
      parseJson(bytes, `${name}: header`, { maxBytes: maxHeaderBytes, uniqueKeys: true }),
      `${name}: header`,
    )
    return { header, dataStart }
  } catch (cause) {
    throw new FormatError((cause as Error).message, { byteOffset: 8, cause })
  }
}

function readTexts(header: JsonObject): Map<string, string> {
  // Null is as good as none: mx.save_safetensors writes it.
  if (!header.has('__metadata__')) return new Map()
  const metadata = header.object('__metadata__')
  return new Map(metadata.keys().map((key) => [key, metadata.string(key)]))
}

function readEntry(header: JsonObject, name: string, dataStart: number): TensorInfo {
  try {
    const entry = header.object(name)
    const storedDType = entry.string('dtype')
    if (!Object.hasOwn(safetensorsDTypes, storedDType))
      throw entry.error('dtype', `must be one of ${Object.keys(safetensorsDTypes).join(', ')}`)
    const { bits, dtype = storedDType as StoredDType } = safetensorsDTypes[storedDType]
    const shape = entry.counts('shape')
    const [begin, end, ...rest] = entry.counts('data_offsets')
    if (end === undefined || rest.length > 0 || end < begin || !Number.isSafeInteger(dataStart + end)) {
      throw entry.error('data_offsets', 'must be two offsets, the second not below the first')
    }
    const byteLength = end - begin
    // The count is exact below 2^53; above, it is far from any byteLength that passed.
    const bytes = (numel(shape) * bits) / 8
    if (bytes !== byteLength) {
      throw entry.error(
        'data_offsets',
        `must span ${bytes} bytes, as ${storedDType} ${showShape(shape)} needs`,
      )
    }
    return { name, dtype, shape, byteLength, byteOffset: dataStart + begin }
  } catch (cause) {
    throw new FormatError((cause as Error).message, { tensor: name, byteOffset: 8, cause })
  }
}

/**
 * Tensors in the order of their bytes must follow each other without overlap or hole, up to the end of the
 * file.
 */
function checkCoverage(source: ByteSource, infos: TensorInfo[], dataStart: number): void {
  let end = dataStart
  for (const { name, byteOffset, byteLength } of infos) {
    if (byteOffset !== end) {
      const fault = byteOffset < end ? 'overlap the tensor before it' : 'leave a hole before it'
      throw new FormatError(
        `${source.name}: tensor ${show(name)} must start at byte ${end}; it starts at ${byteOffset} and would ${fault}`,
        {
          byteOffset,
          tensor: name,
        },
      )
    }
    end += byteLength
    if (end > source.size) {
      throw new FormatError(
        `${source.name}: tensor ${show(name)} must lie within the file's ${source.size} bytes; it ends at ${end}`,
        {
          byteOffset,
          tensor: name,
        },
      )
    }
  }
  if (end !== source.size) {
    throw new FormatError(
      `${source.name}: the tensors must cover the file to its end at ${source.size}; they end at ${end}`,
      {
        byteOffset: end,
      },
    )
  }
}
