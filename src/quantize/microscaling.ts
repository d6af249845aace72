import { DTypeError, ShapeError } from '../core/errors.ts'
import { e2m1, qfloat8_e4m3fn, qint4, quint8 } from '../core/qtype.ts'
import { showBlock, type WeightParts } from '../qtensor/parts.ts'
import type { Quantizer, WeightSpec } from '../qtensor/quantizer.ts'
import { decodeRows, encodeRows } from '../qtensor/rows.ts'
import { groupsOf } from '../qtensor/weightBlocks.ts'
import { abs, add, cast, clamp, div, mul, neg, reduce, sub, where } from '../tensor/ops/index.ts'
import { Tensor } from '../tensor/tensor.ts'

/*
 * 4-bit floats as llm-compressor quantizes to them, in groups of columns: scales are of 8 bits. What they
 * stand for is bfloat16, as the library decompresses them.
 * Source: compressed-tensors 0.20, quantization/utils/helpers.py, `calculate_qparams` and `generate_gparam`;
 * mxfp_utils.py; fp4_utils.py.
 */

/** The largest values of 4-bit floats and of float8. */
const [most4, most8] = [6, 448]

/**
 * Scales that are powers of two: the exponent of max|w|, one more from 1.75 of it on, less 2, so that the
 * group's largest value comes to lie between 3.5 and 7 units.
 */
export const mxfp4Minmax: Quantizer = {
  name: 'mxfp4Minmax',
  scales: 'exponents',
  solve(weight, spec) {
    const { groups, largest } = groupsAndLargest('mxfp4Minmax', weight, spec)
    // Over 7 / 8, 1.75 and more reach the next power of two. Three quarters of a power lie in the middle of
    // two, and are rounded up; of what lies between it and the next they are rounded down to it.
    const exponents = cast(mul(div(largest, 7 / 8), 0.75 / 4), 'float8_e8m0fnu')
    const codes = nearestCodes(groups, cast(exponents, 'float32'))
    return { ...partsOf(weight, spec, codes), scale: { values: perGroup(exponents, weight) } }
  },
}

/**
 * Float8 scales of a group, which one value for the whole weight divides: global = 6 · 448 / max|w|, scale =
 * float8(global · max|w of the group| / 6), 0.125 in place of 0. Steps on the way to it are rounded to the
 * weight's dtype.
 */
export const nvfp4Minmax: Quantizer = {
  name: 'nvfp4Minmax',
  scales: 'divided',
  solve(weight, spec) {
    const { device, dtype } = weight
    const { groups, largest } = groupsAndLargest('nvfp4Minmax', weight, spec)
    const rounded = (values: Tensor) => cast(cast(values, dtype), 'float32')
    const all = reduce('max', largest.view([1, largest.numel]))
    // Of a weight of zeros the quotient is infinite, and 1 is taken.
    const global = where(isAbove(all, 2 ** -115), rounded(div(most4 * most8, all)), 1)
    const one = Tensor.full(device, [], 1)
    const wanted = encodeRows(mul(rounded(div(largest, most4)), global), { scale: one }, qfloat8_e4m3fn)
    const scales = decodeRows(wanted, { scale: one }, qfloat8_e4m3fn)
    const held = where(isAbove(scales, 2 ** -10), scales, 0.125)
    const codes = nearestCodes(groups, div(held, global))
    return {
      ...partsOf(weight, spec, codes),
      scale: {
        codes: perGroup(cast(held, 'float8_e4m3fn'), weight),
        ...{ values: global, divides: true, blockSize: held.numel },
      },
    }
  },
}

/** The weight in float32, a row for each group, and the largest magnitude of each. */
function groupsAndLargest(name: string, weight: Tensor, { type, block }: WeightSpec) {
  if (type !== e2m1) throw new DTypeError(`${name}: the type must be e2m1; received ${type.name}`)
  if (block.kind !== 'group')
    throw new ShapeError(`${name}: blocks must be groups; received ${showBlock(block, weight.shape)}`)
  const groups = groupsOf(cast(weight, 'float32'), block.size)
  return { groups, largest: reduce('max', abs(groups)) }
}

function partsOf(weight: Tensor, { type, block }: WeightSpec, codes: Tensor): Omit<WeightParts, 'scale'> {
  return { type, block, shape: weight.shape, dtype: 'bfloat16', codes: codes.view(weight.shape) }
}

function perGroup(values: Tensor, weight: Tensor): Tensor {
  return values.view([weight.shape[0], values.numel / weight.shape[0]])
}

/** 1 where a value is larger than half of `unit`, else 0; uint8. */
function isAbove(values: Tensor, unit: number): Tensor {
  const scale = Tensor.full(values.device, [], unit)
  return encodeRows(values, { scale }, quint8, { range: { qmin: 0, qmax: 1 } })
}

/**
 * The codes of the values nearest to groups in units of their scales, of two as near the one of the even
 * code. Values lie 0.5 apart up to 2, 1 apart up to 4, and 2 apart up to 6, so that each stretch is rounded
 * for itself; negative ones have the highest bit, zeros among them.
 */
function nearestCodes(groups: Tensor, scales: Tensor): Tensor {
  const { device } = groups
  const one = Tensor.full(device, [], 1)
  const units = clamp(div(groups, scales.view([groups.shape[0], 1])), -most4, most4)
  const size = abs(units)
  const floatsOf = (codes: Tensor) => decodeRows(codes, { scale: one }, quint8)
  const steps = (values: Tensor, most: number) =>
    floatsOf(encodeRows(values, { scale: one }, quint8, { range: { qmin: 0, qmax: most } }))
  const magnitude = add(add(steps(mul(size, 2), 4), steps(sub(size, 2), 2)), steps(sub(mul(size, 0.5), 2), 1))
  const negative = floatsOf(isAbove(neg(groups), 2 ** -149))
  return encodeRows(add(magnitude, mul(negative, 8)), { scale: one }, qint4)
}
