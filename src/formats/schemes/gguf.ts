import { type QType, qint4, qint5, qint8 } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { tileBytes } from '../../qtensor/tiles.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { type GgufBlockType, ggufGroupSize, ggufTypes, isGgufBlockType } from '../ggufBlocks.ts'
import type { PartReader, QuantizedWeight, Scheme } from './scheme.ts'

/** The quantized type that holds the codes of each block type. */
const blockQTypes: Record<GgufBlockType, QType> = {
  Q4_0: qint4,
  Q4_1: qint4,
  Q5_0: qint5,
  Q5_1: qint5,
  Q8_0: qint8,
}

const block = { kind: 'group', size: ggufGroupSize } as const
const blockTypes = Object.keys(blockQTypes) as GgufBlockType[]

/**
 * GGUF's blocks of 32 values of a row, each with a float16 scale and, by type, a minimum; every bit of them
 * stays. Scales are applied in float32, as ggml does. The blocks are drawn at kernels/layout/tileBlocks.
 */
export const gguf: Scheme = {
  name: 'gguf',
  detect(_, file) {
    if (![...file.tensors.values()].some(({ dtype }) => isGgufBlockType(dtype))) return null
    return {
      dtypes: blockTypes,
      layer(path, shape) {
        const type = file.tensors.get(`${path}.weight`)?.dtype
        if (type === undefined || !isGgufBlockType(type) || shape.length < 2) return null
        return { weight: blocks(type, shape), activations: null }
      },
    }
  },
}

function blocks(type: GgufBlockType, shape: Shape): QuantizedWeight {
  const qtype = blockQTypes[type]
  return {
    facts: { qtype, shape, block, offset: qtype.unsigned ? 'shift' : null },
    kind: `${type} (${qtype.name}, groups of ${ggufGroupSize})`,
    parts: [{ name: 'weight', dtypes: [type], shape }],
    read: (parts) => readBlocks(parts, type, shape),
  }
}

/** Bytes that are read at a time. */
export const stagingBytes = 2 ** 20

/** Reads blocks onto the device, some rows at a time, which lays them into tiles. */
async function readBlocks(parts: PartReader, type: GgufBlockType, shape: Shape): Promise<QTensor> {
  const { device } = parts
  const qtype = blockQTypes[type]
  const [N, K] = shape
  const groups = K / ggufGroupSize
  const make = (cols: number, bits: number) => keep(Tensor.empty(device, [tileBytes(N, cols, bits)], 'uint8'))
  const codes = make(K, qtype.bits)
  const scale = make(groups, 16)
  const shift = qtype.unsigned ? make(groups, 16) : null
  const result = new QTensor({
    type: qtype,
    shape,
    dtype: 'float32',
    block,
    codes,
    scale: { tensor: scale, dtype: 'float16' },
    offset: shift && { kind: 'shift', tensor: shift, dtype: 'float16' },
    order: null,
  })
  try {
    const rowBytes = groups * ggufTypes[type].bytes
    // Whole tiles.
    const rows = Math.max(1, Math.floor(stagingBytes / rowBytes / 16)) * 16
    for (let start = 0; start < N; start += rows) {
      const end = Math.min(N, start + rows)
      const stored = await parts.rows('weight', start, end)
      checkScales(parts, type, await stored.readBytes(), start * rowBytes)
      scope(() => {
        const part = (tiles: Tensor, cols: number, bits: number) =>
          tiles.rows(tileBytes(start, cols, bits), tileBytes(end, cols, bits))
        device.call('tileBlocks', {
          blocks: stored,
          type: ggufTypes[type].id,
          codeTiles: part(codes, K, qtype.bits),
          scaleTiles: part(scale, groups, 16),
          shiftTiles: shift && part(shift, groups, 16),
          rows: end - start,
          cols: K,
        })
      })
      stored.dispose()
      await device.settled(2 * stagingBytes)
    }
    return result
  } catch (error) {
    result.dispose()
    throw error
  }
}

/** float16 without its sign: NaN and infinity from here on. */
const infinity = 0x7c00
/** 4096: half of what 16 · d could be without leaving float16. No weight comes near. */
const largestScale = 0x6c00

/** Looks at the scale, and where there is one the minimum, of every block. */
function checkScales(parts: PartReader, type: GgufBlockType, bytes: Uint8Array, byteOffset: number): void {
  const { bytes: blockBytes } = ggufTypes[type]
  const hasMinimum = type === 'Q4_1' || type === 'Q5_1'
  for (let at = 0; at < bytes.length; at += blockBytes) {
    const scale = (bytes[at] | (bytes[at + 1] << 8)) & 0x7fff
    const minimum = hasMinimum ? (bytes[at + 2] | (bytes[at + 3] << 8)) & 0x7fff : 0
    if (scale <= largestScale && minimum < infinity) continue
    const block = (byteOffset + at) / blockBytes
    const problem = `must hold finite numbers; the scale of block ${block}, in the order of rows, is NaN, infinite or above 4096`
    throw parts.error('weight', problem, byteOffset + at)
  }
}
