import { quint8 } from '../../core/qtypes.ts'
import { addToCodes } from '../../qtensor/packing.ts'
import { decodeRows } from '../../qtensor/rows.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { findInPieces } from '../finite.ts'
import type { PartReader } from './scheme.ts'

/**
 * Looks at codes that each have a byte, though they are of fewer bits.
 * @param part holds them, as they are in `codes`
 * @param codes int8 or uint8
 * @param low the least that a code may be
 * @throws FormatError if one is less than `low`, or greater than `high`
 */
export async function checkCodes(
  parts: PartReader,
  part: string,
  codes: Tensor,
  [low, high]: readonly [low: number, high: number],
): Promise<void> {
  const one = Tensor.full(codes.device, [1], 1)
  // Those below `low` come out above all others.
  const place = await findInPieces(codes, bitsOf(high - low + 1), (piece) =>
    decodeRows(addToCodes(piece, 8, (256 - low) % 256).view([1, piece.numel]), { scale: one }, quint8),
  ).finally(() => one.dispose())
  if (place === null) return
  const range = low === high ? `be ${low} throughout` : `hold codes from ${low} to ${high}`
  throw parts.error(part, `must ${range}; value ${place} is another`, place)
}

function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]
}
