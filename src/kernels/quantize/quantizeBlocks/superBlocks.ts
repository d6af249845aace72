import {
  clamp,
  fitAffine,
  fitByCodes,
  fitPositive,
  fitSymmetric,
  largestOf,
  leastMagnitude,
  nearest,
  putHalf,
  type Search,
  squareSum,
} from './fits.ts'
import { inverseOf, rounded, weigh, weightedSearch } from './plainBlocks.ts'
import type { BlockParts } from './quantizeBlocks.ts'

/* Blocks of 256 columns in groups, whose scales are codes, too. */

const f = Math.fround

/** fit(values, the first column, their codes) for every group of so many columns. */
function eachGroup(
  x: Float32Array,
  size: number,
  codes: Uint8Array,
  fit: (x: Float32Array, first: number, codes: Uint8Array) => void,
): void {
  for (let first = 0; first < x.length; first += size)
    fit(x.subarray(first, first + size), first, codes.subarray(first, first + size))
}

/**
 * The codes nearest to the values with scale and shift as they are stored; those of a group whose scale is 0
 * stay what the search found.
 */
function recode(
  x: Float32Array,
  codes: Uint8Array,
  { d, shift, low, high }: { d: number; shift: number; low: number; high: number },
): void {
  if (d === 0) return
  codes.set(Array.from(x, (value) => clamp(nearest(f(f(value + shift) / d)), low, high) - low))
}

/**
 * Q2_K, Q4_K, Q5_K: scales and shifts of the groups by `fitAffine`, then the nearest codes for these among
 * 0 … scaleLevels. Without importance errors count by √(mean x²) + |x|, in Q2_K by |x|.
 */
export function affineSuperBlock(
  size: 16 | 32,
  levels: number,
  scaleLevels: 15 | 63,
  search: Omit<Search, 'bounded'>,
) {
  return (x: Float32Array, importance: Float32Array | null, _: number, to: BlockParts): void => {
    const two = scaleLevels === 15
    const groups = x.length / size
    const [scales, shifts, weights] = [0, 1, 2].map(() => new Float32Array(groups))
    const variance = f(f((two ? 1 : 2) * squareSum(x)) / 256)
    eachGroup(x, size, to.codes, (values, first, codes) => {
      const deviation = two ? 0 : f(Math.sqrt(f(squareSum(values) / size)))
      const w = importance
        ? weigh(values, importance.subarray(first, first + size), variance)
        : values.map((value) => deviation + Math.abs(value))
      const options = importance ? weightedSearch : { ...search, bounded: false }
      const { scale, shift } = fitAffine(values, w, levels, options, codes)
      scales[first / size] = scale
      shifts[first / size] = shift
      weights[first / size] = w.reduce((sum, each) => f(sum + each), 0)
    })
    const code = (values: Float32Array, half: Uint8Array, codes: Uint8Array) => {
      if (importance) return putHalf(half, fitPositive(values, weights, scaleLevels, codes))
      const most = Math.max(0, ...values)
      const inverse = most > 0 ? f(scaleLevels / most) : 0
      codes.set(Array.from(values, (value) => Math.min(nearest(f(inverse * value)) & 255, scaleLevels)))
      return putHalf(half, f(most / scaleLevels))
    }
    const d = code(scales, to.scale, to.scaleCodes)
    const dmin = code(shifts, to.shift, to.shiftCodes)
    eachGroup(x, size, to.codes, (values, first, codes) => {
      const g = first / size
      const stored = { d: f(d * to.scaleCodes[g]), shift: f(dmin * to.shiftCodes[g]) }
      recode(values, codes, { ...stored, low: 0, high: levels })
    })
  }
}

/** The codes once more, with d and the factors of the groups as they are stored. */
function recodeSymmetric(
  x: Float32Array,
  d: number,
  factors: number[],
  levels: number,
  to: BlockParts,
): void {
  eachGroup(x, 16, to.codes, (values, first, codes) => {
    const scale = f(d * factors[first / 16])
    recode(values, codes, { d: scale, shift: -0, low: -levels, high: levels - 1 })
  })
}

/**
 * Q3_K: scales of the groups by `fitByCodes` (with importance `fitSymmetric`), of which the largest is −32 ·
 * d.
 */
export function superBlock3(
  x: Float32Array,
  importance: Float32Array | null,
  _: number,
  to: BlockParts,
): void {
  const [scales, weights] = [new Float32Array(16), new Float32Array(16)]
  const variance = f(f(2 * squareSum(x)) / 256)
  eachGroup(x, 16, to.codes, (values, first, codes) => {
    const w = importance && weigh(values, importance.subarray(first, first + 16), variance)
    scales[first / 16] = w ? fitSymmetric(values, w, 4, codes) : fitByCodes(values, 4, codes)
    weights[first / 16] = w ? w.reduce((sum, each) => f(sum + each), 0) : 0
  })
  let d = 0
  if (importance) d = fitSymmetric(scales, weights, 32, to.scaleCodes)
  else if (largestOf(scales) !== 0) {
    const inverse = f(-32 / largestOf(scales))
    to.scaleCodes.set(Array.from(scales, (scale) => clamp(nearest(f(inverse * scale)), -32, 31) + 32))
    d = f(1 / inverse)
  } else to.scaleCodes.fill(0)
  const factors = Array.from(to.scaleCodes, (code) => code - 32)
  recodeSymmetric(x, putHalf(to.scale, d), factors, 4, to)
}

/**
 * Q6_K: scales of the groups by `fitSymmetric`, weighted by importance or x², of which the largest is −128 ·
 * d.
 */
export function superBlock6(
  x: Float32Array,
  importance: Float32Array | null,
  _: number,
  to: BlockParts,
): void {
  const scales = new Float32Array(16)
  eachGroup(x, 16, to.codes, (values, first, codes) => {
    const w = importance?.subarray(first, first + 16) ?? values.map((value) => value * value)
    scales[first / 16] = fitSymmetric(values, w, 32, codes)
  })
  const largest = largestOf(scales)
  if (Math.abs(largest) < leastMagnitude) {
    for (const part of [to.codes, to.scaleCodes, to.scale]) part.fill(0)
    return
  }
  const inverse = f(-128 / largest)
  const factors = Array.from(scales, (scale) => Math.min(127, nearest(f(inverse * scale))))
  to.scaleCodes.set(factors)
  recodeSymmetric(x, putHalf(to.scale, f(1 / inverse)), factors, 32, to)
}

/** TQ1_0, TQ2_0: d = max |x|, q = x / d + 1 to the nearest, half away from zero. */
export function ternarySuperBlock(x: Float32Array, _: unknown, __: number, to: BlockParts): void {
  const d = Math.abs(largestOf(x))
  putHalf(to.scale, d)
  to.codes.set(Array.from(x, (value) => (rounded(f(value * inverseOf(d))) + 1) & 3))
}
