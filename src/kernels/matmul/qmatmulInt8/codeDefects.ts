import { type QType, qtypesByCode } from '../../../core/qtype.ts'
import type { KernelArg } from '../../case.ts'
import { tilePlaces } from '../../layout/tilePack/tilePack.ts'

/* Arguments of qmatmulInt8 with wrong codes of w. */

/**
 * The tiles of w with bit `bit` of row 0's column `col` flipped; where x is 0 there, every product of that
 * column is 0, so x is made 1.
 */
export function withBit(args: KernelArg[], col: number, bit: number): Uint8Array {
  const [x, w, K] = [args[0] as Uint8Array, (args[4] as Uint8Array).slice(), args[14] as number]
  const { bits } = qtypesByCode[args[5] as number]
  const live = Array.from({ length: K }, (_, k) => k).find((k) => k >= col && x[k] !== 0) ?? col
  const place = tilePlaces(bits, K, 0, live)[0]
  w[place.byte] ^= 1 << (place.bit + bit)
  return w
}

/** Whether codes have more than one plane. */
export function isPlanes({ bits }: QType): boolean {
  return (bits & (bits - 1)) !== 0
}

/** Of the first row whose columns 0 and 4 differ in the lowest bit of their second plane. */
export function exchangeHighBits(args: KernelArg[]): KernelArg[] {
  const w = args[4] as Uint8Array
  const { bits } = qtypesByCode[args[5] as number]
  const [N, K] = [args[13] as number, args[14] as number]
  const copy = w.slice()
  for (let n = 0; n < N; n++) {
    const [first, second] = [0, 4].map((col) => tilePlaces(bits, K, n, col)[1])
    const bitOf = (place: typeof first) => (w[place.byte] >> place.bit) & 1
    if (bitOf(first) === bitOf(second)) continue
    copy[first.byte] ^= 1 << first.bit
    copy[second.byte] ^= 1 << second.bit
  }
  return args.with(4, copy)
}
