import { type DType, dtypes, type HostArray } from '../../../core/dtype.ts'
import { encodeFloat } from '../../../core/halves.ts'
import type { Random } from '../../../core/random.ts'
import { rawOf } from '../../inputs.ts'
import { tileByteLength, tilePack } from '../../layout/tilePack/tilePack.ts'
import type { GroupEncoding } from './groupValues.ts'

/** What scales and shifts in codes are, for the cases of the kernels that read them. */
export interface GroupCodes {
  name: string
  dtype: DType
  bits: number
  zero?: number
  /** Bits of the codes of shifts; else there are none. */
  offsetBits?: number
  /** Float32 or float16; null: codes are the scales. */
  valueDtype?: DType | null
  shared: number
  zeroPoint?: number
}

/** GGUF's Q4_K, Q2_K, Q3_K and Q6_K, for 8 groups and multiples of it. */
export const kQuants = {
  Q4_K: { name: 'Q4_K', dtype: 'uint8', bits: 6, offsetBits: 6, valueDtype: 'float16', shared: 8 },
  Q2_K: { name: 'Q2_K', dtype: 'uint8', bits: 4, offsetBits: 4, valueDtype: 'float16', shared: 16 },
  Q3_K: { name: 'Q3_K', dtype: 'uint8', bits: 6, zero: 32, valueDtype: 'float16', shared: 16, zeroPoint: 4 },
  Q6_K: { name: 'Q6_K', dtype: 'int8', bits: 8, valueDtype: 'float16', shared: 16, zeroPoint: 32 },
  IQ4_XS: { name: 'IQ4_XS', dtype: 'uint8', bits: 6, zero: 32, valueDtype: 'float16', shared: 8 },
} satisfies Record<string, GroupCodes>

/** Scales that are 8-bit floats, as they are or times one value of the weight. */
export const float8Groups = {
  MXFP4: { name: 'MXFP4', dtype: 'float8_e8m0fnu', bits: 8, valueDtype: null, shared: 0 },
  NVFP4: { name: 'NVFP4', dtype: 'float8_e4m3fn', bits: 8, valueDtype: 'float32', shared: 0 },
  divided: { name: 'NVFP4, divided', dtype: 'float8_e4m3fn', bits: 8, valueDtype: 'float32', shared: -1 },
} satisfies Record<string, GroupCodes>

function tiled(values: Uint8Array, bits: number, rows: number, cols: number): Uint8Array {
  const tiles = new Uint8Array(tileByteLength(bits, rows, cols))
  tilePack(values, tiles, bits, rows, cols)
  return tiles
}

/** Tiles of codes and values, such that scale · qmax is about 0.1; in the order of the kernels' arguments. */
export function groupCodeArgs(
  random: Random,
  codes: GroupCodes,
  qmax: number,
  N: number,
  groups: number,
): { scale: HostArray; offset: HostArray | null; dtypes: [number, number]; encoding: GroupEncoding } {
  const { dtype, bits, zero = 0, offsetBits = 0, valueDtype = null, shared, zeroPoint = 0 } = codes
  const codesOf = (width: number) => () => Math.floor(random.uniform() * 2 ** width)
  const code = dtypes[dtype].floating
    ? () => encodeFloat(dtype, (0.1 * (1 + random.uniform())) / (valueDtype ? 1 : qmax))
    : codesOf(bits)
  const bytes = (make: () => number) => Uint8Array.from({ length: N * groups }, make)
  const [rows, cols] = shared <= 0 ? [16, 1] : [N, groups / shared]
  const one = (0.1 * (1 + random.uniform())) / qmax
  const values = (most: number) => {
    if (valueDtype === null) return null
    const each = () => (shared === 0 ? one : (0.1 * (1 + random.uniform())) / qmax) / most
    const of = shared < 0 ? () => most / one : each
    const raw = rawOf(valueDtype, Float32Array.from({ length: rows * cols }, of))
    const tiles = tiled(new Uint8Array(raw.buffer), 8 * dtypes[valueDtype].bytes, rows, cols)
    return new dtypes[valueDtype].array(tiles.buffer as ArrayBuffer)
  }
  const scale = tiled(bytes(code), bits, N, groups)
  const offset = offsetBits === 0 ? null : tiled(bytes(codesOf(offsetBits)), offsetBits, N, groups)
  return {
    scale: dtype === 'int8' ? new Int8Array(scale.buffer) : scale,
    offset,
    dtypes: [dtypes[dtype].code, dtypes.uint8.code],
    encoding: [
      ...([
        values(dtypes[dtype].floating ? 1 : 2 ** bits),
        offset && values(2 ** offsetBits / qmax),
      ] as const),
      ...([dtypes[valueDtype ?? 'float32'].code, bits, zero, offsetBits, shared, zeroPoint] as const),
    ],
  }
}

/** Planted defects of arguments with the offset at place `offset` and the encoding from `at` on. */
export function groupCodeDefects(
  { zero = 0, zeroPoint = 0, offsetBits = 0 }: GroupCodes,
  offset: number,
  at: number,
) {
  const replace = (place: number, value: number) => (args: (HostArray | number | null)[]) =>
    args.with(place, value)
  return {
    ...(zero > 0 && { 'codes of scales from 0 on': replace(at + 4, 0) }),
    ...(zeroPoint > 0 && { 'no zero point': replace(at + 7, 0) }),
    ...(offsetBits > 0 && {
      'the lowest bits of shifts': (args: (HostArray | number | null)[]) =>
        args.with(
          offset,
          (args[offset] as Uint8Array).map((byte) => byte ^ 1),
        ),
    }),
  }
}
