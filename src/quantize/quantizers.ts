import { dtypes, type FloatDType } from '../core/dtype.ts'
import { DTypeError, ShapeError } from '../core/errors.ts'
import { above, check, oneOf, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { type QType, qint1 } from '../core/qtype.ts'
import type { KernelArguments } from '../devices/commandList.ts'
import { isNested, showBlock, type WeightParts } from '../qtensor/parts.ts'
import { aQuantizer, groupSpec, type Quantizer, type WeightSpec } from '../qtensor/quantizer.ts'
import { chooseScales, encodeRows, smallestNormal, symmetricRange } from '../qtensor/rows.ts'
import { op } from '../tensor/op.ts'
import { add, cast, div, mul, neg, relu, sub, transpose, where } from '../tensor/ops/index.ts'
import { Tensor } from '../tensor/tensor.ts'
import { codebook, doubleQuant } from './codebook.ts'
import { ggufQuantizers } from './ggufQuantizers.ts'
import { type ChosenScales, groupQuantizer } from './groupQuantizer.ts'
import { llmInt8 } from './llmInt8.ts'
import { mxfp4Minmax, nvfp4Minmax } from './microscaling.ts'
import { minmax } from './minmax.ts'
import { ternary } from './ternary.ts'
import { torchaoFloat8, torchaoInt8, torchaoIntx } from './torchaoQuantizers.ts'

/**
 * scale = max|w| / qmax of each group: signed types. quanto's AbsmaxOptimizer, its default for 8 bits.
 * Source: optimum-quanto 0.2.7, tensor/optimizers/absmax_optimizer.py.
 */
export const absmax: Quantizer = groupQuantizer(
  'absmax',
  (groups, qtype, spec) => {
    if (spec.zeroPoints) return scalesAndZeros(groups, spec)
    if (qtype.unsigned)
      throw new DTypeError(
        `absmax: the type must be signed (int8 or float8); received ${qtype.name}, which max is for`,
      )
    return chooseScales(groups, 'absmax', symmetricRange(qtype))
  },
  { shortGroups: 'zeroPoints' },
)

/**
 * scale = (max − min) / (2^bits − 1), shift = −min of each group, for unsigned types; for signed ones
 * `absmax`. quanto's MaxOptimizer, its default for 2 and 4 bits.
 * Source: optimum-quanto 0.2.7, tensor/optimizers/max_optimizer.py.
 */
export const max: Quantizer = groupQuantizer(
  'max',
  (groups, qtype, spec) => (spec.zeroPoints ? scalesAndZeros(groups, spec) : scalesOfMax(groups, qtype)),
  { shortGroups: 'zeroPoints' },
)

/**
 * Scales with integer zero points, for integer types of b bits. Symmetric: scale = max|w| / ((2^b − 1) / 2),
 * and the zero point the middle of the codes; else scale = (max − min) / (2^b − 1) of a range that holds 0.
 * What GPTQ, AWQ and compressed-tensors do. Source: GPTQModel 7.7, quantizer.py, `find_params`.
 */
function scalesAndZeros(groups: Tensor, { type, symmetric, scaleDtype }: WeightSpec): ChosenScales {
  const half = 2 ** (type.bits - 1)
  return chooseScales(groups, symmetric ? 'absmax' : 'range', {
    ...{ qmin: -half, qmax: half - 1, offset: 'zeroPoint', zeroDtype: type.dtype },
    ...{ zero: type.unsigned ? half : 0, epsilon: smallestNormal(scaleDtype ?? groups.dtype) },
  })
}

function scalesOfMax(groups: Tensor, qtype: QType) {
  return qtype.unsigned
    ? chooseScales(groups, 'range', { ...qtype, offset: 'shift' })
    : chooseScales(groups, 'absmax', symmetricRange(qtype))
}

/**
 * Scales and shifts of unsigned types of which 0 and the range's larger end are codes, both chosen in
 * float32, and the codes by them; then they are rounded to the weight's dtype. MLX's affine mode; see
 * kernels/quantize/chooseScale.
 * Source: mlx 0.32, backend/cpu/quantized.cpp, `quantize`.
 */
export const mlx: Quantizer = groupQuantizer('mlx', (groups, type) => {
  if (!type.unsigned || type.bits === 1)
    throw new DTypeError(`mlx: the type must be unsigned, of 2 bits or more; received ${type.name}`)
  const x = cast(groups, 'float32')
  const chosen = chooseScales(x, 'edge', { ...type, offset: 'shift', epsilon: 1e-7 })
  const shift = chosen.shift as Tensor
  const codes = encodeRows(x, chosen, type)
  return { codes, scale: cast(chosen.scale, groups.dtype), shift: cast(shift, groups.dtype) }
})

/** How long and by which norm `hqq` searches. */
export interface HqqOptions {
  /**
   * The norm of the error that is made small, 0 < norm ≤ 1: below 1, few large errors count less than many
   * small ones.
   */
  norm?: number
  /** How weakly errors are shrunk at first, and by what that grows with each step. */
  beta?: number
  kappa?: number
  /** Steps at most. Default 20. */
  iterations?: number
  /**
   * Which values share a scale, in hqq's words: 1, consecutive ones of a row, which is the default; 0, values of
   * a column of the weight as [groupSize, N · K / groupSize], which no kernel multiplies as they are.
   */
  axis?: 0 | 1
  /**
   * `quanto`, the default, ends with the last step that lowers the error; `hqq`, as that library, with the step
   * behind the first one that does not.
   */
  mirror?: 'quanto' | 'hqq'
}

const hqqKinds: OptionKinds<HqqOptions> = {
  norm: {
    must: 'be a number above 0 and at most 1',
    holds: (value) => typeof value === 'number' && value > 0 && value <= 1,
  },
  beta: above(0),
  kappa: above(0),
  iterations: wholeNumber(0),
  axis: { must: 'be 0 or 1', holds: (value) => value === 0 || value === 1 },
  mirror: oneOf('quanto', 'hqq'),
}

/** Moves the shifts of groups in place; see kernels/quantize/hqqShift. */
const moveShift = op(
  'moveShift(groups, scale, shift, options)',
  (
    groups: Tensor,
    scale: Tensor,
    shift: Tensor,
    options: Omit<KernelArguments<'hqqShift'>, 'x' | 'dtype' | 'scale' | 'shift'>,
  ): void =>
    groups.device.call('hqqShift', { x: groups, dtype: dtypes[groups.dtype].code, scale, shift, ...options }),
)

/**
 * The scale of `max`, and a shift that is moved, step by step, to where the norm of the weight's error is
 * smallest (unsigned types). quanto's HqqOptimizer, with its defaults; see kernels/quantize/hqqShift.
 */
export function hqq(options: HqqOptions = {}): Quantizer {
  checkOptions('hqq', options, hqqKinds)
  const { norm = 0.7, beta = 10, kappa = 1.01, iterations = 20, axis = 1, mirror = 'quanto' } = options
  const alongRows = groupQuantizer('hqq', (groups, qtype) => {
    const { scale, shift } = scalesOfMax(groups, qtype)
    if (!shift)
      throw new DTypeError(
        `hqq: the type must be unsigned (int2 or int4); received ${qtype.name}, which absmax is for`,
      )
    const [rows, cols] = groups.shape
    const [trial, next] = [0, 1].map(() => Tensor.empty(groups.device, [rows], groups.dtype))
    const error = Tensor.empty(groups.device, [rows])
    const steps = Tensor.empty(groups.device, [1], 'int32')
    const search = { trial, next, error, iterations: steps }
    const maxIterations = mirror === 'hqq' ? Math.max(iterations - 1, 0) : iterations
    const settings = { levels: qtype.qmax, norm, beta, kappa, maxIterations }
    moveShift(groups, scale, shift, { ...search, ...settings, rows, cols })
    return { scale, shift: mirror === 'hqq' && iterations > 0 ? next : shift }
  })
  if (axis === 1) return alongRows
  return { name: 'hqq', solve: (weight, spec) => solveApart(alongRows, weight, spec) }
}

/** What a quantizer chooses where the values of a group lie apart, as many as a group has columns. */
function solveApart(quantizer: Quantizer, weight: Tensor, spec: WeightSpec): WeightParts {
  const { shape } = weight
  if (spec.block.kind !== 'group' || spec.scaleDtype || spec.zeroPoints)
    throw new ShapeError(
      `${quantizer.name}: with axis 0 groups must be of columns, without zero points or scaleDtype; received ${showBlock(spec.block, shape)}`,
    )
  const teeth = spec.block.size
  const groups = transpose(weight.view([teeth, weight.numel / teeth]), 0, 1).clone()
  const parts = quantizer.solve(groups, groupSpec(spec.type, null, groups.shape))
  const { scale, offset } = parts
  if (isNested(scale) || offset?.kind !== 'shift' || isNested(offset))
    throw new DTypeError(`${quantizer.name}: it must choose shifts; it has none for ${spec.type.name}`)
  return {
    ...parts,
    shape,
    codes: transpose(parts.codes, 0, 1).clone().view(shape),
    block: { kind: 'comb', teeth },
    scale: { values: scale.values.view([groups.shape[0]]) },
    offset: { kind: 'shift', values: offset.values.view([groups.shape[0]]) },
  }
}

/**
 * The codes and scales of `hqq` with float zero points shift / scale in place of shifts, as HQQ's own files
 * have them; a group of a single value has scale 1.
 */
const hqqZeros: Quantizer = {
  name: 'hqqZeros',
  offset: 'zero',
  solve(weight, spec) {
    const parts = hqq().solve(cast(weight, 'float32'), spec)
    const { scale, offset } = parts
    if (isNested(scale) || offset?.kind !== 'shift' || isNested(offset))
      throw new DTypeError(`hqqZeros: hqq must choose shifts; it has none for ${spec.type.name}`)
    const { values } = scale
    const tiny = Tensor.full(values.device, [], 2 ** -100)
    const isSpread = encodeRows(values, { scale: tiny }, qint1)
    const scales = where(isSpread, values, 1)
    const zero = { kind: 'zero', values: cast(div(offset.values, scales), weight.dtype) } as const
    return {
      ...parts,
      dtype: weight.dtype as FloatDType,
      scale: { values: cast(scales, weight.dtype) },
      offset: zero,
    }
  },
}

/**
 * The scales of a `quantizer` of unsigned types with integer zero points z = clamp(rne(shift / scale), 0,
 * 2^bits − 1), so that a weight of 0 stays 0. A group whose range does not hold 0, such as one of a single
 * value, has its range stretched to it, as torchao does: where z is clamped, quanto's `zeropoint=True`, which
 * this is elsewhere, cuts off the group's values.
 * Source: optimum-quanto 0.2.7, tensor/optimizers/affine_optimizer.py.
 */
export function withZeroPoint(quantizer: Quantizer): Quantizer {
  check('withZeroPoint', 'quantizer', quantizer, aQuantizer)
  return groupQuantizer(`${quantizer.name} with zero points`, (groups, type) => {
    const { scale: chosen, offset } = quantizer.solve(groups, groupSpec(type, null, groups.shape))
    if (offset?.kind !== 'shift' || isNested(chosen))
      throw new DTypeError(`withZeroPoint: the quantizer must choose shifts; received none for ${type.name}`)
    const rows = [groups.shape[0]]
    const shift = offset.values.view(rows)
    const scale = stretchedToZero(chosen.values.view(rows), shift, type.qmax)
    return { scale, zeroPoint: encodeRows(shift, { scale }, type) }
  })
}

/**
 * Scales with which the range −shift … qmax · scale − shift comes within half a step of 0; the same where it
 * does already.
 */
function stretchedToZero(scale: Tensor, shift: Tensor, qmax: number): Tensor {
  const [s, d] = [cast(scale, 'float32'), cast(shift, 'float32')]
  const distance = add(relu(neg(d)), relu(sub(d, mul(s, qmax))))
  const short = relu(sub(distance, mul(s, 0.5)))
  return cast(add(s, div(short, qmax)), scale.dtype)
}

/** The quantizers by the names that `algorithm` takes. */
export const quantizers = {
  absmax,
  max,
  minmax,
  mlx,
  hqq: hqq(),
  hqqZeros,
  codebook,
  doubleQuant,
  llmInt8,
  torchaoInt8,
  torchaoFloat8,
  torchaoIntx,
  mxfp4Minmax,
  nvfp4Minmax,
  ternary,
  ...ggufQuantizers,
} satisfies Record<string, Quantizer>
export type QuantizerName = keyof typeof quantizers

/** quanto's choice: absmax for 8 bits, max below; the nearest value for types that have a table of them. */
export function defaultQuantizer(qtype: QType): Quantizer {
  if (qtype.codebook) return codebook
  return qtype.unsigned ? max : absmax
}
