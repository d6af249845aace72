import type { Tensor } from '../../tensor/tensor.ts'
import { findNotFinite } from '../finite.ts'
import type { PartReader } from './scheme.ts'

/**
 * Looks at scales that were computed: those that are stored, their reader looks at.
 * @param part holds what they were computed of
 * @throws FormatError if one is NaN or infinite
 */
export async function checkScales(parts: PartReader, part: string, scales: Tensor): Promise<void> {
  const place = await findNotFinite(scales)
  if (place === null) return
  throw parts.error(part, `must make scales that are finite; that of block ${place} is NaN or infinite`)
}
