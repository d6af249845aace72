import { type DType, dtypes, type HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, toNumbers } from '../../../core/halves.ts'
import type { QType } from '../../../core/qtype.ts'
import type { Random } from '../../../core/random.ts'
import { rawOf } from '../../inputs.ts'
import { tileByteLength, tilePack } from '../../layout/tilePack/tilePack.ts'

/* Weights for the cases of the kernels that read them in tiles. */

/** [rows, cols] floats as tiles of `dtype`. */
export function tiledFloats(values: Float32Array, dtype: DType, rows: number, cols: number): HostArray {
  const raw = rawOf(dtype, values)
  const bits = 8 * dtypes[dtype].bytes
  const tiles = new Uint8Array(tileByteLength(bits, rows, cols))
  tilePack(new Uint8Array(raw.buffer), tiles, bits, rows, cols)
  return new dtypes[dtype].array(tiles.buffer)
}

/** Codes as quantizing normal weights gives them; every code of the type occurs. */
export function randomCodes(random: Random, qtype: QType, count: number): Uint8Array {
  if (qtype.dtype === 'uint8')
    return Uint8Array.from({ length: count }, () => Math.floor(random.uniform() * 2 ** qtype.bits))
  if (qtype.dtype === 'int8')
    return Uint8Array.from({ length: count }, () => Math.floor(random.uniform() * 256))
  return Uint8Array.from({ length: count }, () =>
    encodeFloat(qtype.dtype, (qtype.qmax / 6) * random.normal()),
  )
}

/** Bytes of the scales and offsets of so many groups. */
export function scaleBytes(qtype: QType, groups: number, scaleDtype: DType, offsetDtype: DType): number {
  return groups * (dtypes[scaleDtype].bytes + (qtype.unsigned ? dtypes[offsetDtype].bytes : 0))
}

/**
 * [N, groups] shifts of the scales, or zero points, near the middle of the codes, as the minimum of weights
 * around zero; in tiles.
 */
export function tiledOffsets(
  random: Random,
  qtype: QType,
  scale: Float32Array,
  dtype: DType,
  N: number,
  groups: number,
): HostArray | null {
  if (!qtype.unsigned) return null
  const middle = () => qtype.qmax * (0.3 + 0.4 * random.uniform())
  if (dtype !== 'uint8')
    return tiledFloats(
      scale.map((value) => value * middle()),
      dtype,
      N,
      groups,
    )
  const tiles = new Uint8Array(tileByteLength(8, N, groups))
  tilePack(
    Uint8Array.from(scale, () => Math.round(middle())),
    tiles,
    8,
    N,
    groups,
  )
  return tiles
}

/** A raw array of floats, each replaced by f of it. */
export function floatsIn(raw: HostArray, dtype: number, f: (value: number) => number): HostArray {
  const name = dtypeOfCode(dtype)
  return rawOf(name, toNumbers(name, raw).map(f))
}

/** Tiles of scales with each row's groups moved by one. */
export function nextGroup(tiles: HostArray, groups: number): HostArray {
  const moved = tiles.slice()
  for (let i = 0; i < tiles.length; i++) {
    const tileRow = Math.floor(i / (16 * groups))
    const group = (Math.floor(i / 16) + 1) % groups
    moved[i] = tiles[(tileRow * groups + group) * 16 + (i % 16)]
  }
  return moved
}

/** The matrices of SmolLM2 and a square one of 7B models, [N, K]. */
export const modelShapes = [
  [576, 576],
  [192, 576],
  [1536, 576],
  [576, 1536],
  [49152, 576],
  [4096, 4096],
]
