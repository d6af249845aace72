import { DTypeError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import { chooseScales, decodeRows, encodeRows, smallestNormal, symmetricRange } from '../qtensor/rows.ts'
import { add, cast, div, neg, relu, sub } from '../tensor/ops/index.ts'
import { reduce } from '../tensor/ops/reduce.ts'
import { Tensor } from '../tensor/tensor.ts'
import { type ChosenScales, groupQuantizer } from './groupQuantizer.ts'

/**
 * llm-compressor's `memoryless_minmax`: scales of the range of each block.
 *
 *     integers of b bits    symmetric, and signed without zero points: scale = max|w| / ((2^b − 1) / 2), unsigned
 *                           ones around the middle of their codes; else, of a range that holds 0,
 *                           scale = (max − min) / (2^b − 1), z = rne(qmin − min / scale), q = rne(w / scale + z)
 *     float8                scale = max|w| / 448
 *
 * Every operation is rounded to the weight's dtype. A block of zeros has the smallest scale that is not
 * subnormal, where the library has its dtype's epsilon.
 * Source: compressed-tensors 0.20, quantization/utils/helpers.py, `calculate_qparams`.
 */
export const minmax = groupQuantizer('minmax', (groups, type, { symmetric, zeroPoints }) => {
  if (type.values === 'codebook')
    throw new DTypeError(`minmax: the type must be of integers or float8; received ${type.name}`)
  const isInteger = type.values !== 'float'
  if (isInteger && !symmetric && (type.unsigned || zeroPoints)) return aroundZero(groups, type)
  const half = 2 ** (type.bits - 1)
  const range = isInteger ? { qmin: -half, qmax: half - 1 } : symmetricRange(type)
  const offset =
    type.unsigned || (isInteger && zeroPoints) ? { offset: 'zeroPoint' as const, zeroDtype: type.dtype } : {}
  const zero = type.unsigned ? half : 0
  return chooseScales(groups, 'absmax', {
    ...{ ...range, ...offset, zero, epsilon: smallestNormal(groups.dtype) },
  })
})

/** Scales and zero points of ranges that hold 0, and codes. */
function aroundZero(groups: Tensor, type: QType): ChosenScales {
  const { device, dtype } = groups
  const [rows] = groups.shape
  const half = 2 ** (type.bits - 1)
  const rounded = (values: Tensor) => inFloat32(cast(values, dtype))
  const range = { qmin: -half, qmax: half - 1 }
  const { scale } = chooseScales(groups, 'range', {
    ...range,
    offset: 'zeroPoint',
    epsilon: smallestNormal(dtype),
  })
  const x = inFloat32(groups)
  const units = inFloat32(scale)
  const low = neg(relu(neg(reduce('min', x))))
  // Unsigned codes lie half their number above the integers.
  const middle = Tensor.fromArray(device, Uint8Array.of(type.unsigned ? half : 0), [])
  const one = cast(Tensor.full(device, [], 1), dtype)
  const codesOf = (values: Tensor) => encodeRows(cast(values, dtype), { scale: one, zeroPoint: middle }, type)
  const zeroPoint = codesOf(rounded(sub(-half, rounded(div(low, units)))))
  const zeros = inFloat32(decodeRows(zeroPoint, { scale: one, zeroPoint: middle }, type))
  const column = (values: Tensor) => values.view([rows, 1])
  const codes = codesOf(rounded(add(rounded(div(x, column(units))), column(zeros))))
  return { scale, zeroPoint, codes }
}

function inFloat32(values: Tensor): Tensor {
  return cast(values, 'float32')
}
