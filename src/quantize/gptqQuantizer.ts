import { dtypes, type FloatDType } from '../core/dtype.ts'
import { DTypeError, ShapeError } from '../core/errors.ts'
import { atLeast, isObject, type Kind, wholeNumber, within } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { QType } from '../core/qtype.ts'
import { showShape } from '../core/shape.ts'
import { type GridRule, gptqSweepBytes, gridRules } from '../kernels/solve/gptqSweep/gptqSweep.ts'
import { inverseFactorBytes } from '../kernels/solve/inverseFactor/inverseFactor.ts'
import { type OrderRule, orderRules } from '../kernels/solve/solvingOrder/solvingOrder.ts'
import { blocksShape, type Offset, showBlock, type WeightParts } from '../qtensor/parts.ts'
import type { Quantizer, Statistics, WeightSpec } from '../qtensor/quantizer.ts'
import { symmetricRange } from '../qtensor/rows.ts'
import { checkDType, Tensor } from '../tensor/tensor.ts'

/**
 * In which order columns are solved, those first that have the most inputs:
 *
 *     false           as they stand
 *     true            groups are of columns solved one after the other: the weight has an order (`g_idx`)
 *     'static'        groups are of columns that stand together, and their scales are chosen first
 *     'group-aware'   groups likewise, solved one after the other: GPTQModel's `act_group_aware`
 */
export type ActOrder = boolean | 'static' | 'group-aware'

/** How scales are searched for. */
export interface ScaleSearch {
  /** How many ranges are tried for each group. Default 80. */
  grid?: number
  /** By how much the last of them is smaller than the first. Default 0.8. */
  maxShrink?: number
}

/** How GPTQ solves layers, in auto_gptq's and GPTQModel's words. */
export interface GptqQuantizerOptions {
  /** Default `static`. */
  actOrder?: ActOrder
  /**
   * What is added to the diagonal of the layer's second derivatives, as a share of its mean; a hundredth
   * more, as often as it takes, where they cannot be inverted. Default 0.01.
   */
  dampPercent?: number
  /** Columns that are solved before what they lost is made up for by all others. Default 128. */
  blockSize?: number
  /**
   * Whether scales are those with the least error, weighed by what their columns multiply, and not those of
   * the whole range; a block is a group at most then, so that they are of the weights as they have become.
   * Default false.
   */
  scaleSearch?: boolean | ScaleSearch
}

const searchKinds: OptionKinds<ScaleSearch> = {
  grid: wholeNumber(1),
  maxShrink: within(0, 1, { excluded: 1 }),
}

const aSearch: Kind = {
  must: 'be true, false or { grid, maxShrink }',
  holds: (value) => typeof value === 'boolean' || isObject(value),
}

/** What the options may be. */
export const gptqKinds: OptionKinds<GptqQuantizerOptions> = {
  actOrder: {
    must: "be true, false, 'static' or 'group-aware'",
    holds: (value) => typeof value === 'boolean' || value === 'static' || value === 'group-aware',
  },
  dampPercent: atLeast(0),
  blockSize: wholeNumber(1),
  scaleSearch: aSearch,
}

/**
 * GPTQ: the columns of a weight are rounded one after the other, and what the layer's output loses by one is
 * made up for by those that are still to come. Without statistics weights are rounded to nearest, by the same
 * scales. Source: Frantar et al., "GPTQ", 2023; GPTQModel 7.7, whose scales, zero points and order it has.
 * @throws ShapeError or DTypeError for options that there are not
 */
export function gptqQuantizer(options: GptqQuantizerOptions = {}): Quantizer {
  checkOptions('gptqQuantizer', options, gptqKinds)
  if (isObject(options.scaleSearch))
    checkOptions<ScaleSearch>('gptqQuantizer: scaleSearch', options.scaleSearch, searchKinds)
  return {
    name: 'gptq',
    roundsScalesLast: true,
    shortGroups: true,
    collects: collectHessian,
    solve: (weight, spec, statistics) =>
      solveColumns(weight, spec, options, solverOf(statistics, spec, options)),
  }
}

/**
 * Adds the rows x [M, K] to `hessian` [K, K], the running mean of 2·xᵀ·x over all `rows`, as auto_gptq has
 * it.
 */
export function collectHessian(x: Tensor, statistics: Statistics): void {
  const [M, K] = x.shape
  const { device } = x
  if (!statistics.get('hessian')) {
    statistics.set('hessian', Tensor.full(device, [K, K], 0))
    statistics.set('rows', Tensor.full(device, [1], 0))
  }
  const [h, rows] = [statistics.get('hessian') as Tensor, statistics.get('rows') as Tensor]
  device.call('gram', { x, h, rows, M, K })
}

/** In which order columns are solved, and by what those to come make up for what one loses. */
export interface ColumnSolver {
  readonly hessian: Tensor
  /** [K] int32 each, inverse to one another; see kernels/solve/solvingOrder. */
  readonly order: Tensor
  readonly places: Tensor
  /** [K, K]; see kernels/solve/inverseFactor. */
  readonly factor: Tensor
  /** [K, K], of GPTAQ alone. */
  readonly drift?: Tensor
}

const orderOf = new Map<ActOrder, OrderRule>([
  [false, 'none'],
  [true, 'descending'],
  ['static', 'descending'],
  ['group-aware', 'groups'],
])

/** What statistics say of columns, made once for all weights that share them; null where there are none. */
export function solverOf(
  statistics: Statistics | null | undefined,
  { block }: WeightSpec,
  { actOrder = 'static', dampPercent = 0.01 }: GptqQuantizerOptions,
): ColumnSolver | null {
  const hessian = statistics?.get('hessian')
  if (!statistics || !hessian || block.kind !== 'group') return null
  const { device } = hessian
  const [K] = hessian.shape
  const rule = orderOf.get(actOrder) as OrderRule
  const groupSize = Math.min(block.size, K)
  const key = rule === 'groups' ? `${rule} of ${groupSize}` : rule
  const made = (name: string) => statistics.get(`${name} ${key} ${dampPercent}`)
  const make = (name: string, tensor: Tensor) => {
    statistics.set(`${name} ${key} ${dampPercent}`, tensor)
    return tensor
  }
  if (!made('factor')) {
    const order = make('order', Tensor.empty(device, [K], 'int32'))
    const places = make('places', Tensor.empty(device, [K], 'int32'))
    device.call('solvingOrder', { h: hessian, order, places, rule: orderRules[rule], groupSize, cols: K })
    const factor = make('factor', Tensor.empty(device, [K, K]))
    const damped = make('damped', Tensor.empty(device, [1]))
    const work = Tensor.empty(device, [inverseFactorBytes(K)], 'uint8')
    const damping = { damp: dampPercent, step: 0.01 }
    device.call('inverseFactor', { h: hessian, order, ...damping, factor, damped, work, cols: K })
    work.dispose()
  }
  const of = (name: string) => made(name) as Tensor
  return { hessian, order: of('order'), places: of('places'), factor: of('factor') }
}

/** Codes and scales of a weight, column by column; rounded to nearest without a solver. */
export function solveColumns(
  weight: Tensor,
  spec: WeightSpec,
  options: GptqQuantizerOptions,
  solver: ColumnSolver | null,
): WeightParts {
  checkDType('gptq', 'weight', weight, 'float32', 'float16', 'bfloat16')
  const { type, block } = spec
  const { device, shape, dtype } = weight
  if (shape.length !== 2 || block.kind !== 'group')
    throw new ShapeError(
      `gptq: the weight must be [N,K], in groups of columns; received ${showShape(shape)}, ${showBlock(block, shape)}`,
    )
  const [N, K] = shape
  const { actOrder = 'static' } = options
  const { rule, qmin, qmax } = gridOf(type, spec)
  const scaleDtype = spec.scaleDtype ?? (dtype as FloatDType)
  const groups = blocksShape(block, shape)
  const codes = Tensor.empty(device, shape, type.dtype)
  const scale = Tensor.empty(device, groups, scaleDtype)
  const shift = rule === 'shift' ? Tensor.empty(device, groups, scaleDtype) : null
  const zeroPoint = rule === 'zeroPoint' ? Tensor.empty(device, groups, type.dtype) : null
  const inOrder = solver ?? { ...asTheyStand(weight), hessian: null, factor: null }
  const groupSize = Math.min(block.size, K)
  const drift = solver?.drift ?? null
  const order = actOrder === true && groupSize < K ? (solver?.order ?? null) : null
  const work = Tensor.empty(device, [gptqSweepBytes(N, K, groupSize, drift !== null)], 'uint8')
  device.call('gptqSweep', {
    ...{ weight, dtype: dtypes[dtype].code, h: inOrder.hessian, factor: inOrder.factor, drift },
    ...{ order: inOrder.order, places: inOrder.places, codes, scale, shift, zeroPoint },
    ...{
      scaleDtype: dtypes[scaleDtype].code,
      work,
      rows: N,
      cols: K,
      groupSize,
      blockSize: blockOf(options, groupSize),
    },
    ...{ rule: gridRules[rule], qmin, qmax, stored: order ? 1 : 0 },
    ...{ early: actOrder === 'static' || groupSize === K ? 1 : 0, ...searchOf(options) },
  })
  work.dispose()
  return {
    ...{ type, shape, codes, block, scale: { values: scale } },
    dtype: spec.scaleDtype ? 'float32' : (dtype as FloatDType),
    offset: offsetOf(type, rule, shift, zeroPoint),
    order: order?.clone(),
  }
}

/** The identity, twice: columns as they stand. */
function asTheyStand({ device, shape: [, K] }: Tensor): Pick<ColumnSolver, 'order' | 'places'> {
  const order = Tensor.fromArray(
    device,
    Int32Array.from({ length: K }, (_, i) => i),
  )
  return { order, places: order }
}

/** Scales that are searched for are those of the weights as they are when a group begins. */
function blockOf({ blockSize = 128, scaleSearch = false }: GptqQuantizerOptions, groupSize: number): number {
  return scaleSearch === false ? blockSize : Math.min(blockSize, groupSize)
}

function searchOf({ scaleSearch = false }: GptqQuantizerOptions): { steps: number; shrink: number } {
  if (scaleSearch === false) return { steps: 0, shrink: 0 }
  const { grid = 80, maxShrink = 0.8 } = scaleSearch === true ? {} : scaleSearch
  return { steps: grid, shrink: maxShrink }
}

/** How scales are chosen, and the codes that there are. */
function gridOf(
  type: QType,
  { zeroPoints, symmetric }: WeightSpec,
): { rule: GridRule; qmin: number; qmax: number } {
  if (type.values !== 'unsigned' && type.values !== 'signed')
    throw new DTypeError(`gptq: the type must be of integers; received ${type.name}`)
  const { qmin, qmax } = type
  if (zeroPoints) return { rule: symmetric ? 'symmetric' : 'zeroPoint', qmin, qmax }
  return type.unsigned ? { rule: 'shift', qmin, qmax } : { rule: 'absmax', ...symmetricRange(type) }
}

function offsetOf(
  type: QType,
  rule: GridRule,
  shift: Tensor | null,
  zeroPoint: Tensor | null,
): Offset | null {
  if (shift) return { kind: 'shift', values: shift }
  if (zeroPoint) return { kind: 'zeroPoint', values: zeroPoint }
  return rule === 'symmetric' && type.unsigned ? { kind: 'zeroPoint', value: 2 ** (type.bits - 1) } : null
}
