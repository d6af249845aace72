import { type DType, dtypes, type FloatDType, isDType, isFloatDType, viewAs } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { toNumbers } from '../core/halves.ts'
import type { Shape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import type { PartReader, QuantizedWeight } from '../formats/schemes/scheme.ts'
import { type TensorFile, type TensorInfo, tensorInfo } from '../formats/tensorFile.ts'
import { joinPath, type Module, type Parameter } from '../nn/module.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import { cast, transpose } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { Source } from './match.ts'

/** The bits of infinity, without a sign: numbers lie below, NaN above. */
const infinities: Record<FloatDType, number> = { float32: 0x7f800000, float16: 0x7c00, bfloat16: 0x7f80 }

/**
 * By dtype and the one that it is cast to, the bits of the least number that rounds to infinity there: half a
 * step above the largest.
 */
const overflows: Partial<Record<FloatDType, Partial<Record<FloatDType, number>>>> = {
  // 65520, of which bfloat16 has no number before 65536; and (2 − 2⁻⁸) · 2¹²⁷.
  float32: { float16: 0x477ff000, bfloat16: 0x7f7f8000 },
  bfloat16: { float16: 0x4780 },
}

/** What is read, and how. */
export interface Reading {
  readonly device: Device
  readonly file: TensorFile
  /** What floats become; default: as saved. */
  readonly dtype?: FloatDType
}

/**
 * Makes a parameter of what the file holds of it.
 * @throws FormatError if it is not what its place in the model needs: NaN, infinities, numbers that become such
 */
export async function readSource({ origin, whole, places }: Source, reading: Reading): Promise<Parameter> {
  const { device, file } = reading
  if (origin.kind === 'zero') return keep(Tensor.fromArray(device, new BigInt64Array(1), []))
  const [{ path, module, modulePath }] = places
  if (origin.kind === 'quantized') return readQuantized(origin.weight, origin.layer, reading)
  const { info } = origin
  const bytes = await file.read(path)
  const stored = info.dtype as DType
  if (whole) return keep(Tensor.fromBytes(device, bytes, info.shape, stored))
  // Statistics are computed in place, in float32.
  const dtype = isBuffer(module, modulePath, path) ? 'float32' : (reading.dtype ?? (stored as FloatDType))
  checkFinite(file.name, info, bytes, dtype)
  return scope(() => {
    if (!info.columnMajor) return keep(cast(Tensor.fromBytes(device, bytes, info.shape, stored), dtype))
    const columns = Tensor.fromBytes(device, bytes, info.shape.toReversed(), stored)
    return keep(cast(transpose(columns, 0, 1), dtype))
  })
}

function isBuffer(module: Module, modulePath: string, path: string): boolean {
  return ![...module.ownParameters()].some(([name]) => joinPath(modulePath, name) === path)
}

async function readQuantized(weight: QuantizedWeight, layer: string, reading: Reading): Promise<QTensor> {
  const parts = new LayerParts(layer, reading)
  try {
    return await weight.read(parts)
  } finally {
    parts.dispose()
  }
}

/** The parts of one layer's weight. */
class LayerParts implements PartReader {
  private readonly layer: string
  private readonly reading: Reading
  private readonly given: Tensor[] = []

  constructor(layer: string, reading: Reading) {
    this.layer = layer
    this.reading = reading
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

  async tensor(part: string): Promise<Tensor> {
    const info = this.info(part)
    const bytes = await this.bytes(part)
    if (!isDType(info.dtype)) return this.give(bytes, [bytes.byteLength], 'uint8')
    if (isFloatDType(info.dtype)) checkFinite(this.reading.file.name, info, bytes)
    return this.give(bytes, info.shape, info.dtype)
  }

  async rows(part: string, start: number, end: number): Promise<Tensor> {
    const bytes = await this.reading.file.readRows(joinPath(this.layer, part), start, end)
    return this.give(bytes, [bytes.byteLength], 'uint8')
  }

  error(part: string, problem: string, byteOffset = 0): FormatError {
    const { name, byteOffset: start } = this.info(part)
    const where = { tensor: name, byteOffset: start + byteOffset }
    return new FormatError(`${this.reading.file.name}: ${name} ${problem}`, where)
  }

  private give(bytes: Uint8Array, shape: Shape, dtype: DType): Tensor {
    const tensor = keep(Tensor.fromBytes(this.device, bytes, shape, dtype))
    this.given.push(tensor)
    return tensor
  }

  dispose(): void {
    for (const tensor of this.given) tensor.dispose()
  }
}

/**
 * @param name what messages begin with
 * @throws FormatError naming the first value that is NaN or infinite, or becomes so as `dtype`
 */
export function checkFinite(
  name: string,
  info: Pick<TensorInfo, 'name' | 'dtype' | 'byteOffset'>,
  bytes: Uint8Array,
  dtype?: FloatDType,
): void {
  const stored = info.dtype as FloatDType
  const size = dtypes[stored].bytes
  // Not slice: that of Node's Buffer makes a view.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes)
  const words =
    size === 4
      ? new Uint32Array(aligned.buffer, aligned.byteOffset, bytes.length / 4)
      : new Uint16Array(aligned.buffer, aligned.byteOffset, bytes.length / 2)
  const signless = size === 4 ? 0x7fffffff : 0x7fff
  const infinity = infinities[stored]
  const limit = (dtype && overflows[stored]?.[dtype]) ?? infinity
  for (let i = 0; i < words.length; i++) {
    const magnitude = words[i] & signless
    if (magnitude < limit) continue
    const where = { tensor: info.name, byteOffset: info.byteOffset + i * size }
    if (magnitude >= infinity)
      throw new FormatError(
        `${name}: ${info.name} must hold finite numbers; value ${i} is NaN or infinite`,
        where,
      )
    const [value] = toNumbers(stored, viewAs(stored, bytes.slice(i * size, (i + 1) * size)))
    throw new FormatError(
      `${name}: ${info.name} must hold numbers that ${dtype} can hold; value ${i} is ${value}`,
      where,
    )
  }
}
