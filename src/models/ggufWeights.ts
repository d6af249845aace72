import type { FloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import type { Device } from '../devices/device.ts'
import type { GgufFile, GgufTensor } from '../formats/gguf.ts'
import { type GgufBlockType, ggufDTypes, ggufGroupSize, ggufTypes } from '../formats/ggufBlocks.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { tileBytes } from '../qtensor/tiles.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { unpermuteRows } from './ggufTensors.ts'
import { readFloat } from './loadTensor.ts'

/** A tensor to be read, and the heads whose rows llama.cpp stored in its own order; null if none. */
export interface GgufWeight {
  readonly file: GgufFile
  readonly tensor: GgufTensor
  readonly heads: number | null
  /** Buffers to read through, for all weights of a file: one is taken, or made, and put back. */
  readonly staging: Uint8Array[]
}

/** The rows of a weight in Hugging Face's order. */
async function readOrdered({ file, tensor, heads }: GgufWeight): Promise<Uint8Array> {
  const bytes = await file.read(tensor.name)
  return heads === null ? bytes : unpermuteRows(bytes, tensor.shape, heads)
}

/**
 * Reads a tensor of floats onto the device, as `dtype` if given.
 * @throws FormatError if it holds NaN or infinity
 */
export function readGgufFloat(device: Device, weight: GgufWeight, dtype?: FloatDType): Promise<Tensor> {
  const { file, tensor } = weight
  const stored = ggufDTypes[tensor.type]
  if (!stored)
    throw new FormatError(`${file.name}: ${tensor.name} must be a float; it is ${tensor.type}`, {
      tensor: tensor.name,
    })
  const container = {
    ...file,
    metadata: new Map(),
    tensors: new Map(),
    unsupported: new Map(),
    read: () => readOrdered(weight),
  }
  return readFloat(device, container, { ...tensor, dtype: stored }, dtype)
}

/** Bytes that are read at a time, unless a weight has to be read whole. */
export const stagingBytes = 2 ** 20

/**
 * Reads blocks onto the device, some rows at a time, which lays them into tiles: every bit of them stays.
 * Scales are applied in float32, as ggml does.
 * @throws FormatError if a scale is NaN, infinite or too large
 */
export async function readGgufBlocks(
  device: Device,
  weight: GgufWeight,
  type: GgufBlockType,
  qtype: QType,
): Promise<QTensor> {
  const { file, tensor, heads } = weight
  const staging = weight.staging.pop() ?? new Uint8Array(stagingBytes)
  const [N, K] = tensor.shape
  const groups = K / ggufGroupSize
  const make = (cols: number, bits: number) => keep(Tensor.empty(device, [tileBytes(N, cols, bits)], 'uint8'))
  const codes = make(K, qtype.bits)
  const scale = make(groups, 16)
  const shift = qtype.unsigned ? make(groups, 16) : null
  const result = new QTensor({
    type: qtype,
    shape: tensor.shape,
    dtype: 'float32',
    block: { kind: 'group', size: ggufGroupSize },
    codes,
    scale: { tensor: scale, dtype: 'float16' },
    offset: shift && { kind: 'shift', tensor: shift, dtype: 'float16' },
    order: null,
  })
  try {
    const rowBytes = tensor.byteLength / N
    // Whole tiles; rows that move within their head come all at once.
    const rows = heads === null ? Math.max(1, Math.floor(stagingBytes / rowBytes / 16)) * 16 : N
    for (let start = 0; start < N; start += rows) {
      const end = Math.min(N, start + rows)
      const stored = await file.readRows(
        tensor.name,
        start,
        end,
        rows * rowBytes <= staging.length ? staging : undefined,
      )
      const bytes = heads === null ? stored : unpermuteRows(stored, tensor.shape, heads)
      checkScales(weight, type, bytes, start * rowBytes)
      scope(() => {
        const part = (tiles: Tensor, cols: number, bits: number) =>
          tiles.rows(tileBytes(start, cols, bits), tileBytes(end, cols, bits))
        const blocks = Tensor.fromBytes(device, bytes, [bytes.length], 'uint8')
        const scales = { scaleTiles: part(scale, groups, 16), shiftTiles: shift && part(shift, groups, 16) }
        device.call('tileBlocks', {
          blocks,
          type: ggufTypes[type].id,
          codeTiles: part(codes, K, qtype.bits),
          ...scales,
          rows: end - start,
          cols: K,
        })
      })
      await device.settled(2 * stagingBytes)
    }
    return result
  } catch (error) {
    result.dispose()
    throw error
  } finally {
    weight.staging.push(staging)
  }
}

/** float16 without its sign: NaN and infinity from here on. */
const infinity = 0x7c00
/** 4096: half of what 16 · d could be without leaving float16. No weight comes near. */
const largestScale = 0x6c00

/** Looks at the scale, and where there is one the minimum, of every block. */
function checkScales(
  { file, tensor }: GgufWeight,
  type: GgufBlockType,
  bytes: Uint8Array,
  byteOffset: number,
): void {
  const { bytes: blockBytes } = ggufTypes[type]
  const hasMinimum = type === 'Q4_1' || type === 'Q5_1'
  for (let at = 0; at < bytes.length; at += blockBytes) {
    const scale = (bytes[at] | (bytes[at + 1] << 8)) & 0x7fff
    const minimum = hasMinimum ? (bytes[at + 2] | (bytes[at + 3] << 8)) & 0x7fff : 0
    if (scale <= largestScale && minimum < infinity) continue
    const block = (byteOffset + at) / blockBytes
    throw new FormatError(
      `${file.name}: ${tensor.name} must hold finite numbers; the scale of block ${block}, in the order of rows, is NaN, infinite or above 4096`,
      { tensor: tensor.name, byteOffset: tensor.byteOffset + byteOffset + at },
    )
  }
}
