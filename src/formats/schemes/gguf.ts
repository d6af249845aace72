import { type QType, qint4, qint5, qint8 } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import type { Device } from '../../devices/device.ts'
import { type BlockValues, blockValues } from '../../qtensor/blockValues.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { tileBytes } from '../../qtensor/tiles.ts'
import { scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { findBeyond } from '../finite.ts'
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
    dtype: 'float32',
    kind: `${type} (${qtype.name}, groups of ${ggufGroupSize})`,
    parts: [{ name: 'weight', dtypes: [type], shape }],
    read: (parts) => readBlocks(parts, type, shape),
  }
}

/** Bytes of blocks that lie on the device at a time, beside their tiles. */
const stagingBytes = 2 ** 22

/** A weight whose tiles are not written yet; where there is no memory for all of them, none are kept. */
function emptyTiles(device: Device, qtype: QType, shape: Shape): QTensor {
  const [N, K] = shape
  const groups = K / ggufGroupSize
  const make = (cols: number, bits: number) => Tensor.empty(device, [tileBytes(N, cols, bits)], 'uint8')
  return scope(() => {
    const weight = new QTensor({
      type: qtype,
      shape,
      dtype: 'float32',
      block,
      codes: make(K, qtype.bits),
      scale: { tensor: make(groups, 16), dtype: 'float16' },
      offset: qtype.unsigned ? { kind: 'shift', tensor: make(groups, 16), dtype: 'float16' } : null,
      order: null,
    })
    return weight.keep()
  })
}

/** Reads blocks onto the device, some rows at a time, which lays them into tiles. */
async function readBlocks(parts: PartReader, type: GgufBlockType, shape: Shape): Promise<QTensor> {
  const { device } = parts
  const qtype = blockQTypes[type]
  const [N, K] = shape
  const groups = K / ggufGroupSize
  const result = emptyTiles(device, qtype, shape)
  const { codeTiles } = result
  const [heldScale, heldOffset] = [result.heldScale as BlockValues, result.heldOffset as BlockValues | null]
  try {
    const rowBytes = groups * ggufTypes[type].bytes
    // Whole tiles.
    const rows = Math.max(1, Math.floor(stagingBytes / rowBytes / 16)) * 16
    for (let start = 0; start < N; start += rows) {
      const end = Math.min(N, start + rows)
      const stored = await parts.rows('weight', start, end)
      scope(() => {
        const part = (tiles: Tensor, cols: number, bits: number) =>
          tiles.rows(tileBytes(start, cols, bits), tileBytes(end, cols, bits))
        device.call('tileBlocks', {
          blocks: stored,
          type: ggufTypes[type].id,
          codeTiles: part(codeTiles, K, qtype.bits),
          scaleTiles: part(heldScale.tensor, groups, 16),
          shiftTiles: heldOffset && part(heldOffset.tensor, groups, 16),
          rows: end - start,
          cols: K,
        })
      })
      stored.dispose()
    }
    await checkBlocks(parts, type, result)
    return result
  } catch (error) {
    result.dispose()
    throw error
  }
}

/** The bits of the first float16 above 4096, half of what 16 · d could be. No weight comes near. */
const scaleLimit = 0x6c01
/** The bits of infinity in float16. */
const minimumLimit = 0x7c00

/** Looks at the scale of every block, and at the minimum where the block has one. */
async function checkBlocks(parts: PartReader, type: GgufBlockType, weight: QTensor): Promise<void> {
  const { shape } = weight
  const [heldScale, heldOffset] = [weight.heldScale as BlockValues, weight.heldOffset as BlockValues | null]
  const find = async (held: BlockValues, limit: number) => {
    const values = blockValues(held, block, shape)
    return findBeyond(values, limit).finally(() => values.dispose())
  }
  const bad = [
    await find(heldScale, scaleLimit),
    heldOffset && (await find(heldOffset, minimumLimit)),
  ].filter((place) => place !== null)
  if (bad.length === 0) return
  const place = Math.min(...bad)
  const problem = `must hold finite numbers; the scale of block ${place}, in the order of rows, is NaN, infinite or above 4096`
  throw parts.error('weight', problem, place * ggufTypes[type].bytes)
}
