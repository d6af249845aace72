import { type QType, qint8, unsignedType } from '../core/qtype.ts'
import type { ScaleRule } from '../kernels/quantize/chooseScale/chooseScale.ts'
import { chooseScales, encodeRows, smallestNormal, symmetricRange } from '../qtensor/rows.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type ChosenScales, groupQuantizer } from './groupQuantizer.ts'

/*
 * How torchao's tensor classes choose scales and codes. Source: torchao 0.18,
 * quantization/quantize_/workflows.
 */

/** How a group's range becomes the range of its codes: torchao's mapping types. */
export type Mapping = 'symmetric' | 'symmetricNoClippingError' | 'asymmetric'

export const mappings: Record<Mapping, ScaleRule> = {
  symmetric: 'absmax',
  symmetricNoClippingError: 'noClipping',
  asymmetric: 'range',
}

/**
 * The type whose codes hold integers of so many bits: unsigned ones, 2^(bits − 1) above the integers, or
 * int8.
 */
export function storageOf(bits: number): QType {
  return bits === 8 ? qint8 : unsignedType(bits)
}

/**
 * Scales, zero points and codes of torchao's choose_qparams_affine and quantize_affine; scales are those of
 * the weight's dtype or `scaleDtype`.
 */
export function roundToZeroPoint(
  groups: Tensor,
  bits: number,
  mapping: Mapping,
  epsilon: number,
  scaleDtype = groups.dtype,
): ChosenScales {
  const qtype = storageOf(bits)
  const zero = qtype.unsigned ? 2 ** (bits - 1) : 0
  const range = { qmin: -(2 ** (bits - 1)), qmax: 2 ** (bits - 1) - 1 }
  const offset = { offset: 'zeroPoint', zeroDtype: qtype.dtype, zero } as const
  const chosen = chooseScales(groups, mappings[mapping], { ...range, ...offset, epsilon })
  const scale = cast(chosen.scale, scaleDtype)
  // Signed codes around 0 need no zero point.
  const zeroPoint = zero === 0 && mapping !== 'asymmetric' ? null : chosen.zeroPoint
  const stored = { qmin: range.qmin + zero, qmax: range.qmax + zero }
  const x = cast(groups, scaleDtype)
  const codes = encodeRows(x, { scale, zeroPoint }, qtype, { range: stored, reciprocal: true })
  return { scale, zeroPoint, codes }
}

/**
 * Int8Tensor: scales at least the epsilon of float32, chosen in the weight's dtype, stored and divided by in
 * float32.
 */
export const torchaoInt8 = groupQuantizer('torchaoInt8', (groups) =>
  roundToZeroPoint(groups, 8, 'symmetric', 2 ** -23, 'float32'),
)

/** Float8Tensor: scales chosen in the weight's dtype, stored and divided by in float32. */
export const torchaoFloat8 = groupQuantizer('torchaoFloat8', (groups, type) => ({
  scale: cast(chooseScales(groups, 'absmax', symmetricRange(type)).scale, 'float32'),
}))

/** IntxUnpackedToInt8Tensor, symmetric, of as many bits as the type has. */
export const torchaoIntx = groupQuantizer('torchaoIntx', (groups, { bits }) =>
  roundToZeroPoint(groups, bits, 'symmetric', smallestNormal(groups.dtype)),
)
