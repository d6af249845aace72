import { cast } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import { findBeyond } from '../finite.ts'
import type { PartReader } from './scheme.ts'

/** The bits of infinity in float32. */
const infinity = 0x7f800000

/**
 * Looks at scales whose dtype readers do not look at: those of 8 bits, and those that were computed.
 * @param part holds them
 * @throws FormatError if one is NaN or infinite
 */
export async function checkScales(parts: PartReader, part: string, scales: Tensor): Promise<void> {
  const floats = scope(() => keep(cast(scales, 'float32')))
  const place = await findBeyond(floats, infinity).finally(() => floats.dispose())
  if (place === null) return
  const problem = `must hold finite numbers; the scale of block ${place}, in the order of rows, is NaN or infinite`
  throw parts.error(part, problem, place)
}
