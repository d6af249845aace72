import { type DType, dtypes, type FloatDType, isDType, isFloatDType, viewAs } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { toNumbers } from '../core/halves.ts'
import { cast } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
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

/** Values that `findInPieces` makes others of at a time: what it needs does not grow with the tensor. */
const pieceValues = 2 ** 22

/**
 * The place of the first value of x of which `make`, of a piece of x, makes one whose bits are `limit` or
 * more.
 */
export async function findInPieces(
  x: Tensor,
  limit: number,
  make: (piece: Tensor) => Tensor,
): Promise<number | null> {
  for (let start = 0; start < x.numel; start += pieceValues) {
    const end = Math.min(start + pieceValues, x.numel)
    const made = scope(() => keep(make(x.view([x.numel]).rows(start, end))))
    const found = await findBeyond(made, limit).finally(() => made.dispose())
    if (found !== null) return start + found
  }
  return null
}

/** Whether values of a dtype that a file names are floats, those of 8 bits included. */
export function hasFloats(dtype: string): dtype is DType {
  return isDType(dtype) && dtypes[dtype].floating
}

/** The place of the first value that is NaN or infinite. @param x floats of any dtype */
export function findNotFinite(x: Tensor): Promise<number | null> {
  if (isFloatDType(x.dtype)) return findBeyond(x, infinities[x.dtype])
  // bfloat16 has every float of 8 bits.
  return findInPieces(x, infinities.bfloat16, (piece) => cast(piece, 'bfloat16'))
}

/**
 * Resolves once the device has looked at all values.
 * @param name what messages begin with
 * @param x floats of any dtype
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
  const stored = x.dtype
  const overflow = dtype && isFloatDType(stored) ? overflows[stored]?.[dtype] : undefined
  const found = await (overflow === undefined ? findNotFinite(x) : findBeyond(x, overflow))
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
