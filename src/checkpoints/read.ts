import { type DType, type FloatDType, isDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { numel } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { checkFinite, hasFloats } from '../formats/finite.ts'
import type { PartReader, QuantizedWeight } from '../formats/schemes/scheme.ts'
import { type TensorFile, type TensorInfo, tensorInfo } from '../formats/tensorFile.ts'
import { joinPath, type Module, type Parameter } from '../nn/module.ts'
import type { CodesForm } from '../qtensor/heldCodes.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import { add, cast, permute, transpose } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { Origin, Source } from './match.ts'
import type { Staging } from './staging.ts'

/** What is read, and how. */
export interface Reading {
  readonly device: Device
  readonly file: TensorFile
  /** Buffers that bytes pass through on their way. */
  readonly staging: Staging
  /** What floats become; default: as saved. */
  readonly dtype?: FloatDType
}

/**
 * Makes a parameter of what the file holds of it.
 * @throws FormatError if it is not what its place in the model needs: NaN, infinities, numbers that become
 * such
 */
export async function readSource(source: Source, reading: Reading): Promise<Parameter> {
  const { origin } = source
  if (origin.kind === 'zero') return keep(Tensor.fromArray(reading.device, new BigInt64Array(1), []))
  if (origin.kind === 'quantized') return readQuantized(origin.weight, origin.layer, reading)
  return readStored(source, origin.info, reading)
}

/** A quantized weight that holds codes in a form, where its scheme can; null if it is none. */
export async function readWeight(
  { origin }: Source,
  form: CodesForm,
  reading: Reading,
): Promise<QTensor | null> {
  return origin.kind === 'quantized' ? readQuantized(origin.weight, origin.layer, reading, form) : null
}

/** Whether `readSourceRows` can read some of a parameter's rows. */
export function hasRows({ origin }: Source): boolean {
  if (origin.kind !== 'tensor') return false
  const { dtype, shape, columnMajor, headRows } = origin.info
  return isDType(dtype) && shape.length > 0 && !columnMajor && headRows === undefined
}

/**
 * Rows `start` to `end` (exclusive) of the parameter that `readSource` would make. @throws FormatError as it
 */
export function readSourceRows(
  source: Source,
  [start, end]: readonly [number, number],
  reading: Reading,
): Promise<Tensor> {
  const { info } = source.origin as Origin & { kind: 'tensor' }
  const [rows, ...rest] = info.shape
  const byteLength = (info.byteLength / rows) * (end - start)
  return readStored(source, { ...info, shape: [end - start, ...rest], byteLength }, reading, start)
}

/** A tensor as the model takes it: `info`'s rows from `firstRow` of the file's on, checked and cast. */
async function readStored(
  { places, whole }: Source,
  info: TensorInfo,
  reading: Reading,
  firstRow = 0,
): Promise<Tensor> {
  const [{ path, module, modulePath }] = places
  const tensor = await readTensor(path, info, reading, firstRow)
  if (whole) return tensor
  // Statistics are computed in place, in float32.
  const dtype = isBuffer(module, modulePath, path) ? 'float32' : (reading.dtype ?? (info.dtype as FloatDType))
  try {
    const first = firstRow * numel(info.shape.slice(1))
    await checkFinite(reading.file.name, info, tensor, dtype, first)
  } catch (error) {
    tensor.dispose()
    throw error
  }
  const { added, columnMajor } = info
  if (dtype === tensor.dtype && !columnMajor && added === undefined) return tensor
  const result = scope(() => {
    const floats = added === undefined ? tensor : add(cast(tensor, 'float32'), added)
    if (!columnMajor) return keep(cast(floats, dtype))
    return keep(cast(transpose(floats.view(info.shape.toReversed()), 0, 1), dtype))
  })
  tensor.dispose()
  return result
}

function isBuffer(module: Module, modulePath: string, path: string): boolean {
  return ![...module.ownParameters()].some(([name]) => joinPath(modulePath, name) === path)
}

/**
 * The values of a stored tensor, from a row of it on, in the file's order of rows and columns but for rows of
 * heads; its bytes, uint8, where lowbit has none of the kind.
 */
async function readTensor(path: string, info: TensorInfo, reading: Reading, firstRow = 0): Promise<Tensor> {
  const { device, file, staging } = reading
  const { byteLength, shape, dtype } = info
  // Rows are those of the file.
  const rows = (info.columnMajor ? shape.at(-1) : shape[0]) ?? 1
  const tensor = isDType(dtype)
    ? keep(Tensor.empty(device, shape, dtype))
    : keep(Tensor.empty(device, [byteLength], 'uint8'))
  try {
    const read = (start: number, end: number, into: Uint8Array) =>
      file.readRows(path, firstRow + start, firstRow + end, into)
    if (byteLength > 0) await staging.upload(tensor, rows, byteLength / rows, read)
    return info.headRows === undefined ? tensor : unpaired(tensor, rows, info.headRows)
  } catch (error) {
    tensor.dispose()
    throw error
  }
}

/** Rows of whole heads, which lie pair by pair, in the model's order; takes over `x`. */
function unpaired(x: Tensor, rows: number, headRows: number): Tensor {
  const y = scope(() => {
    const pairs = x.view([rows / headRows, headRows / 2, 2, x.numel / rows])
    return keep(permute(pairs, [0, 2, 1, 3]).view(x.shape))
  })
  x.dispose()
  return y
}

async function readQuantized(
  weight: QuantizedWeight,
  layer: string,
  reading: Reading,
  form: CodesForm = 'tiles',
): Promise<QTensor> {
  const parts = new LayerParts(layer, reading, form)
  try {
    return await weight.read(parts)
  } finally {
    await parts.dispose()
  }
}

/** The parts of one layer's weight. */
class LayerParts implements PartReader {
  readonly form: CodesForm
  private readonly layer: string
  private readonly reading: Reading
  private readonly given: Tensor[] = []
  /** What was asked for: after one part has failed, others are on their way still. */
  private readonly coming: Promise<unknown>[] = []

  constructor(layer: string, reading: Reading, form: CodesForm) {
    this.layer = layer
    this.reading = reading
    this.form = form
  }

  get device(): Device {
    return this.reading.device
  }

  info(part: string): TensorInfo {
    return tensorInfo(this.reading.file, joinPath(this.layer, part))
  }

  bytes(part: string): Promise<Uint8Array> {
    return this.reading.file.read(joinPath(this.layer, part))
  }

  tensor(part: string, as?: DType, mayBeNaN = false): Promise<Tensor> {
    return this.expect(this.readPart(part, as, mayBeNaN))
  }

  private async readPart(part: string, as: DType | undefined, mayBeNaN: boolean): Promise<Tensor> {
    const stored = this.info(part)
    const info = as && stored.dtype === 'uint8' ? { ...stored, dtype: as } : stored
    const tensor = this.give(await readTensor(joinPath(this.layer, part), info, this.reading))
    if (hasFloats(info.dtype) && !mayBeNaN) await checkFinite(this.reading.file.name, info, tensor)
    return tensor
  }

  async codes(part: string, { mayBeNaN = false } = {}): Promise<Tensor | null> {
    return this.form === 'none' ? null : this.tensor(part, undefined, mayBeNaN)
  }

  rows(part: string, start: number, end: number): Promise<Tensor> {
    return this.expect(this.readRows(part, start, end))
  }

  private async readRows(part: string, start: number, end: number): Promise<Tensor> {
    const path = joinPath(this.layer, part)
    const { byteLength, shape, headRows = 1 } = this.info(part)
    const rowBytes = byteLength / (shape[0] ?? 1)
    const { file, staging } = this.reading
    // Rows move within their head, so whole heads are read.
    const from = Math.floor(start / headRows) * headRows
    const rows = Math.ceil(end / headRows) * headRows - from
    const tensor = this.give(keep(Tensor.empty(this.device, [rows * rowBytes], 'uint8')))
    await staging.upload(tensor, rows, rowBytes, (first, last, into) =>
      file.readRows(path, from + first, from + last, into),
    )
    if (headRows === 1) return tensor
    const ordered = this.give(unpaired(tensor, rows, headRows))
    return this.give(keep(ordered.rows((start - from) * rowBytes, (end - from) * rowBytes)))
  }

  error(part: string, problem: string, byteOffset = 0): FormatError {
    const { name, byteOffset: start } = this.info(part)
    const where = { tensor: name, byteOffset: start + byteOffset }
    return new FormatError(`${this.reading.file.name}: ${name} ${problem}`, where)
  }

  private give(tensor: Tensor): Tensor {
    this.given.push(tensor)
    return tensor
  }

  private expect(part: Promise<Tensor>): Promise<Tensor> {
    this.coming.push(part)
    return part
  }

  /** Resolves when nothing that was asked for is left. */
  async dispose(): Promise<void> {
    await Promise.allSettled(this.coming)
    for (const tensor of this.given) tensor.dispose()
  }
}
