import { type DType, dtypes } from '../../core/dtype.ts'
import { FormatError } from '../../core/errors.ts'
import type { Shape } from '../../core/shape.ts'
import type { Device } from '../../devices/device.ts'
import { fieldLength } from '../../kernels/layout/unpackBlocks/unpackBlocks.ts'
import type { HeldOffset, HeldScale } from '../../qtensor/blockValues.ts'
import { unpackBlocks } from '../../qtensor/packing.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { packTileRows, tileBytes } from '../../qtensor/tiles.ts'
import { cast, neg } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { findBeyond } from '../finite.ts'
import { ggufTypes } from '../ggufBlocks.ts'
import {
  type BlockField,
  type BlockLayout,
  type BlockScales,
  blockLayout,
  blockLayouts,
  fieldNumbers,
  type GgufBlockType,
  isGgufBlockType,
} from '../ggufLayouts.ts'
import type { TensorFile } from '../tensorFile.ts'
import { ggufBlockWriter } from './ggufBlockWriter.ts'
import type { PartReader, QuantizedWeight, Scheme } from './scheme.ts'

/**
 * GGUF's blocks of 32 to 256 values of a row; every bit of them stays. Scales are applied in float32, as ggml
 * does. The blocks are drawn at formats/ggufLayouts.
 */
export const gguf: Scheme = {
  name: 'gguf',
  writer: ggufBlockWriter,
  detect(_, file) {
    const dtypesOfFile = [...file.tensors.values()].map(({ dtype }) => dtype)
    refuseCodebooks(file)
    if (!dtypesOfFile.some(isGgufBlockType)) return null
    return {
      dtypes: Object.keys(blockLayouts) as GgufBlockType[],
      layer(path, shape) {
        const type = file.tensors.get(`${path}.weight`)?.dtype
        if (type === undefined || !isGgufBlockType(type) || shape.length < 2) return null
        return { weight: blocks(type, shape), activations: null }
      },
    }
  },
}

/**
 * @throws FormatError if a tensor is of the types whose levels are in tables of ggml's own, IQ1_S to IQ3_S
 */
function refuseCodebooks(file: TensorFile): void {
  const found = [...file.tensors.values()].find(({ dtype }) => /^IQ[123]_/.test(dtype))
  if (!found) return
  const problem = `is ${found.dtype}, whose values are entries of a table of llama.cpp's`
  const instead = 'take a file of the model with Q2_K, Q3_K or another type, or make one with llama-quantize'
  throw new FormatError(`${file.name}: ${found.name} ${problem}, which lowbit does not have: ${instead}`, {
    tensor: found.name,
    byteOffset: found.byteOffset,
  })
}

function blocks(type: GgufBlockType, shape: Shape): QuantizedWeight {
  const { type: qtype, groupSize, zeroPoint, scale, shift } = blockLayout(type)
  const offset = shift ? 'shift' : zeroPoint === undefined ? null : 'zeroPoint'
  const nested = scale.nested ? `, scales of ${scale.nested.bits} bits` : ''
  return {
    facts: { qtype, shape, block: { kind: 'group', size: groupSize }, offset },
    dtype: 'float32',
    kind: `${type} (${qtype.name}, groups of ${groupSize}${nested})`,
    parts: [{ name: 'weight', dtypes: [type], shape }],
    read: (parts) => readBlocks(parts, type, shape),
  }
}

/** Bytes of codes that are unpacked at a time, so that they stay in the cache until they are in tiles. */
const unpackedBytes = 2 ** 19
/** Bytes of blocks that lie on the device at a time, beside their tiles. */
const stagingBytes = 2 ** 22

/** What the blocks of a weight are unpacked from: whole rows. */
interface Rows {
  readonly blocks: Tensor
  readonly first: number
  readonly rows: number
}

/** Where values of the blocks go: tiles of a matrix [N, cols]. */
interface Target {
  readonly tiles: Tensor
  readonly dtype: DType
  readonly bits: number
  readonly cols: number
  readonly fields: Tensor
  readonly negative: boolean
  /** Whether they are to be finite. */
  readonly checked: boolean
}

/** Reads blocks onto the device, some rows at a time, which lays them into tiles. */
async function readBlocks(parts: PartReader, type: GgufBlockType, shape: Shape): Promise<QTensor> {
  const { weight, targets } = scope(() => {
    const made = emptyWeight(parts.device, type, shape)
    made.weight.keep()
    for (const { fields } of made.targets) keep(fields)
    return made
  })
  const { values, bytes } = ggufTypes[type]
  const [N, K] = shape
  const rowBytes = (K / values) * bytes
  const wholeTiles = (most: number) => Math.max(1, Math.floor(most / 16)) * 16
  const [staged, unpacked] = [wholeTiles(stagingBytes / rowBytes), wholeTiles(unpackedBytes / K)]
  const searches: Promise<number | null>[] = []
  try {
    for (let start = 0; start < N; start += staged) {
      const end = Math.min(N, start + staged)
      const stored = await parts.rows('weight', start, end)
      for (let first = start; first < end; first += unpacked) {
        const rows = Math.min(unpacked, end - first)
        const from = (first - start) * rowBytes
        scope(() => {
          const part = { blocks: stored.rows(from, from + rows * rowBytes), first, rows }
          for (const target of targets) searches.push(...layRows(part, target, type, K / values))
        })
      }
      stored.dispose()
    }
    const bad = (await Promise.all(searches)).filter((place) => place !== null)
    if (bad.length === 0) return weight
    const place = Math.min(...bad)
    const problem = `must hold finite numbers; the scale of block ${place}, in the order of rows, is NaN or infinite`
    throw parts.error('weight', problem, place * bytes)
  } catch (error) {
    weight.dispose()
    throw error
  } finally {
    for (const { fields } of targets) fields.dispose()
  }
}

/** Lays what a target takes of some rows into its tiles; searches for values that are not finite. */
function* layRows(
  { blocks, first, rows }: Rows,
  { tiles, dtype, bits, cols, fields, negative, checked }: Target,
  type: GgufBlockType,
  rowBlocks: number,
): Generator<Promise<number | null>> {
  const count = rows * rowBlocks
  const unpacked = unpackBlocks(blocks, fields, ggufTypes[type].bytes, [rows, cols], dtype)
  const floats = checked || negative ? cast(unpacked, 'float32') : null
  if (checked && floats)
    yield findBeyond(floats, 0x7f800000).then((place) =>
      place === null ? null : first * rowBlocks + Math.floor((place * count) / unpacked.numel),
    )
  packTileRows(negative && floats ? cast(neg(floats), dtype) : unpacked, tiles, bits, first)
}

/** A weight whose tiles are not written yet, and what of the blocks goes into which of them. */
function emptyWeight(
  device: Device,
  type: GgufBlockType,
  shape: Shape,
): { weight: QTensor; targets: Target[] } {
  const layout = blockLayout(type)
  const { values } = ggufTypes[type]
  const [N, K] = shape
  const targets: Target[] = []
  /** Tiles of `each` values of a block. */
  const place = (dtype: DType, each: number, fields: readonly BlockField[], more: Partial<Target> = {}) => {
    const { bits = 8 * dtypes[dtype].bytes, negative = false, checked = false } = more
    const cols = (K / values) * each
    const tiles = Tensor.empty(device, [tileBytes(N, cols, bits)], 'uint8')
    const numbers = fieldNumbers(fields, each * dtypes[dtype].bytes)
    const fieldTensor = Tensor.fromArray(device, numbers, [numbers.length / fieldLength, fieldLength])
    targets.push({ tiles, dtype, bits, cols, fields: fieldTensor, negative, checked })
    return tiles
  }
  const groups = values / layout.groupSize
  const scales = ({ dtype, fields, nested, negative }: BlockScales): HeldScale => {
    if (!nested) return { tensor: place(dtype, groups, fields, { negative, checked: true }), dtype }
    const { at, bits, zero = 0 } = nested
    return {
      codes: place(dtype, groups, fields, { bits }),
      values: place('float16', 1, [{ at, bits: 8, span: 2 }], { checked: true }),
      ...{ codesDtype: dtype, bits, zero, codebook: null, divides: false, offset: null },
      ...{ valuesDtype: 'float16', blockSize: groups, shared: groups },
    }
  }
  const weight = new QTensor({
    ...{ type: layout.type, shape, dtype: 'float32', block: { kind: 'group', size: layout.groupSize } },
    codes: place(layout.type.dtype, values, layout.codes, { bits: layout.type.bits }),
    scale: scales(layout.scale),
    offset: offsetOf(device, layout, scales),
    order: null,
  })
  return { weight, targets }
}

function offsetOf(
  device: Device,
  { type, zeroPoint, shift }: BlockLayout,
  scales: (shift: BlockScales) => HeldScale,
): HeldOffset | null {
  if (shift) return { kind: 'shift', ...scales(shift) }
  if (zeroPoint === undefined) return null
  return {
    kind: 'zeroPoint',
    value: zeroPoint,
    code: Tensor.fromNumbers(device, [zeroPoint], [1], type.dtype),
  }
}
