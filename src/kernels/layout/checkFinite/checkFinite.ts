import type { HostArray } from '../../../core/dtype.ts'
import { DTypeError } from '../../../core/errors.ts'

/**
 * index[0] = the first i at which the bits of x[i] without the sign are `limit` or more; −1 if there is none.
 *
 * Bits of floats without the sign stand in the order of the magnitudes, and NaN above infinity: with the bits
 * of infinity as the limit it finds the first value that is not finite, with those of the least number that
 * rounds to infinity in another dtype the first that has no place there.
 * @param x [count] float32, float16 or bfloat16
 * @param index [1] int32
 */
export function checkFinite(
  x: HostArray,
  _dtype: number,
  limit: number,
  index: Int32Array,
  count: number,
): void {
  if (x.BYTES_PER_ELEMENT !== 4 && x.BYTES_PER_ELEMENT !== 2)
    throw new DTypeError(
      `checkFinite: x must be float32, float16 or bfloat16; received ${x.constructor.name}`,
    )
  const isWide = x.BYTES_PER_ELEMENT === 4
  const words = isWide
    ? new Uint32Array(x.buffer, x.byteOffset, x.length)
    : new Uint16Array(x.buffer, x.byteOffset, x.length)
  const magnitude = isWide ? 0x7fffffff : 0x7fff
  index[0] = words.subarray(0, count).findIndex((word) => (word & magnitude) >= limit)
}
