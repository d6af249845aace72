import { fitAffine, fitSymmetric, largestOf, putHalf } from './fits.ts'
import type { BlockParts } from './quantizeBlocks.ts'

/* Blocks of 32 columns with one scale. */

const f = Math.fround

/** Weights of squared errors: importance · √(variance + x²). */
export function weigh(x: Float32Array, importance: Float32Array, variance: number): Float32Array {
  return importance.map((each, i) => each * f(Math.sqrt(f(variance + f(x[i] * x[i])))))
}

/** Where ggml's encoders search with importance. */
export const weightedSearch = { low: -0.9, step: 0.05, steps: 36, absolute: false, bounded: true }

/** x, and 0 for what is beyond int32: x86 makes a number of it whose lowest byte is 0. */
function convertible(x: number): number {
  return Math.abs(x) < 2 ** 31 ? x : 0
}

/** Towards zero. */
function truncated(x: number): number {
  return Math.trunc(convertible(x))
}

/** To the nearest integer, half away from zero. */
export function rounded(x: number): number {
  const whole = truncated(x)
  const rest = convertible(x) - whole
  return whole + Number(rest >= 0.5) - Number(rest <= -0.5)
}

/** 1 / d, and 0 for 0. */
export function inverseOf(d: number): number {
  return d === 0 ? 0 : f(1 / d)
}

/** Q4_0, Q5_0: d = largest / −levels, which gets code 0; q = ⌊x / d + levels + ½⌋. */
export function symmetricBlock(levels: number) {
  return (x: Float32Array, importance: Float32Array | null, variance: number, to: BlockParts): void => {
    let d: number
    if (importance) d = fitSymmetric(x, weigh(x, importance, variance), levels, to.codes)
    else {
      d = f(largestOf(x) / -levels)
      const inverse = inverseOf(d)
      to.codes.set(
        Array.from(x, (value) => Math.min(truncated(f(f(value * inverse) + (levels + 0.5))), 2 * levels - 1)),
      )
    }
    putHalf(to.scale, d)
  }
}

/** Q4_1, Q5_1: d = (max − min) / levels, m = min, q = ⌊(x − m) / d + ½⌋. */
export function affineBlock(levels: number) {
  return (x: Float32Array, importance: Float32Array | null, variance: number, to: BlockParts): void => {
    if (importance) {
      const fit = fitAffine(x, weigh(x, importance, variance), levels, weightedSearch, to.codes)
      putHalf(to.scale, fit.scale)
      putHalf(to.shift, fit.shift)
      return
    }
    const [least, most] = [Math.min(...x), Math.max(...x)]
    const d = f(f(most - least) / levels)
    const inverse = inverseOf(d)
    to.codes.set(
      Array.from(x, (value) => Math.min(truncated(f(f(f(value - least) * inverse) + 0.5)), levels)),
    )
    putHalf(to.scale, d)
    putHalf(to.shift, -least)
  }
}

/** Q8_0: d = max |x| / 127, q = x / d to the nearest, half away from zero. */
export function byteBlock(x: Float32Array, _: unknown, __: number, to: BlockParts): void {
  const d = f(Math.abs(largestOf(x)) / 127)
  const inverse = inverseOf(d)
  to.codes.set(Array.from(x, (value) => rounded(f(value * inverse))))
  putHalf(to.scale, d)
}

/** The values of e2m1's codes, doubled. */
const doubled = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]

/**
 * MXFP4: e = ⌊log₂ max |x|⌋ − 2 + 127, at least 0, and of each value the nearest, the first of several. The
 * logarithm is rounded to float32 first.
 */
export function microBlock(x: Float32Array, _: unknown, __: number, to: BlockParts): void {
  const largest = Math.abs(largestOf(x))
  const e = largest === 0 ? 0 : Math.max(0, Math.floor(f(Math.log2(largest))) - 2 + 127)
  const d = 2 ** (e - 128)
  to.scale[0] = e
  for (const [i, value] of x.entries()) {
    const errors = doubled.map((each) => Math.abs(f(f(each * d) - value)))
    to.codes[i] = errors.indexOf(Math.min(...errors))
  }
}
