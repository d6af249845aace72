import { dtypes, type FloatDType, viewAs } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { toNumbers } from '../core/halves.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { TensorInfo } from './tensorFile.ts'

/** The bits of infinity, without a sign: numbers lie below, NaN above. */
const infinities: Record<FloatDType, number> = { float32: 0x7f800000, float16: 0x7c00, bfloat16: 0x7f80 }

/**
 * By dtype and the one that it is cast to, the bits of the least number that rounds to infinity there: half a
 * step above the largest.
 */
const overflows: Partial<Record<FloatDType, Partial<Record<FloatDType, number>>>> = {
  // 65520, of which bfloat16 has no number before 65536; and (2 − 2⁻⁸) · 2¹²⁷.
  float32: { float16: 0x477ff000, bfloat16: 0x7f7f8000 },
  bfloat16: { float16: 0x4780 },
}

/** A search on the queue: the place of the first value whose bits without the sign are `limit` or more. */
export function findBeyond(x: Tensor, limit: number): Promise<number | null> {
  const index = Tensor.empty(x.device, [1], 'int32')
  x.device.call('checkFinite', { x, dtype: dtypes[x.dtype].code, limit, index, count: x.numel })
  const found = index.read()
  index.dispose()
  return found.then(([at]) => (Number(at) < 0 ? null : Number(at)))
}

/**
 * Resolves once the device has looked at all values.
 * @param name what messages begin with
 * @param dtype what the values will be cast to; default: they stay as they are
 * @param first which value of the tensor that `info` tells of the first of x is
 * @throws FormatError naming the first value that is NaN or infinite, or becomes so as `dtype`
 */
export async function checkFinite(
  name: string,
  info: Pick<TensorInfo, 'name' | 'byteOffset'>,
  x: Tensor,
  dtype?: FloatDType,
  first = 0,
): Promise<void> {
  const stored = x.dtype as FloatDType
  const infinity = infinities[stored]
  const found = await findBeyond(x, (dtype && overflows[stored]?.[dtype]) ?? infinity)
  if (found === null) return
  const place = first + found
  const one = scope(() => x.view([x.numel]).rows(found, found + 1))
  const bytes = await one.readBytes()
  one.dispose()
  const [value] = toNumbers(stored, viewAs(stored, bytes))
  const where = { tensor: info.name, byteOffset: info.byteOffset + place * dtypes[stored].bytes }
  if (Number.isFinite(value))
    throw new FormatError(
      `${name}: ${info.name} must hold numbers that ${dtype} can hold; value ${place} is ${value}`,
      where,
    )
  throw new FormatError(
    `${name}: ${info.name} must hold finite numbers; value ${place} is NaN or infinite`,
    where,
  )
}
