import { decodeFloat, encodeFloat } from '../../../core/halves.ts'

/*
 * The searches of ggml's encoders for the scale of one group of values. Results must equal ggml's bit for
 * bit, so every operation is rounded to float32, and sums run in the order of the columns.
 * Source: ggml, ggml-quants.c, make_qx_quants, make_q3_quants, make_qkx2_quants, make_qkx3_quants and
 * make_qp_quants.
 */

const f = Math.fround
const word = new Float32Array(1)
const bits = new Int32Array(word.buffer)

/**
 * The nearest integer, half to even: adding 1.5 · 2²³ leaves no bits for a fraction. Beyond ±2²² it is some
 * number, the same one as in ggml.
 */
export function nearest(x: number): number {
  word[0] = x + 12582912
  return (bits[0] & 0x7fffff) - 0x400000
}

export function clamp(x: number, low: number, high: number): number {
  return Math.min(Math.max(x, low), high)
}

/** What is below counts as no value at all. */
export const leastMagnitude = f(1e-15)

/** Σ x² in float32, in the order of the columns. */
export function squareSum(x: Float32Array): number {
  let sum = 0
  for (const value of x) sum = Math.fround(sum + Math.fround(value * value))
  return sum
}

/** Stores a value as float16, and gives what is stored. */
export function putHalf(to: Uint8Array, value: number): number {
  const half = encodeFloat('float16', value)
  to.set([half & 255, half >> 8])
  return decodeFloat('float16', half)
}

/** The value of the largest magnitude, the first of several; 0 if there is none but 0. */
export function largestOf(x: Float32Array): number {
  let largest = 0
  for (const value of x) if (Math.abs(value) > Math.abs(largest)) largest = value
  return largest
}

/** Σ w·x·q and Σ w·q². */
function sumsOf(x: Float32Array, w: Float32Array, q: ArrayLike<number>): { xq: number; qq: number } {
  let [xq, qq] = [0, 0]
  for (let i = 0; i < x.length; i++) {
    xq = f(xq + f(f(w[i] * x[i]) * q[i]))
    qq = f(qq + f(f(w[i] * q[i]) * q[i]))
  }
  return { xq, qq }
}

/**
 * scale for x ≈ scale · q, −levels ≤ q < levels, codes = q + levels: of 19 scales around the one that puts
 * the largest magnitude at −levels, that with the largest (Σ w·x·q)² / Σ w·q², which is where the best scale
 * for its codes, Σ w·x·q / Σ w·q², leaves the least error Σ w·(x − scale·q)².
 * @param w weights of the errors
 */
export function fitSymmetric(x: Float32Array, w: Float32Array, levels: number, codes: Uint8Array): number {
  const largest = largestOf(x)
  codes.fill(0)
  if (Math.abs(largest) < leastMagnitude) return 0
  let [scale, best] = [0, 0]
  const sides = [0, ...Array.from({ length: 19 }, (_, i) => i - 9).filter((side) => side !== 0)]
  for (const side of sides) {
    const inverse = f(-f(levels + f(f(0.1) * side)) / largest)
    const q = Array.from(x, (value) => clamp(nearest(f(inverse * value)), -levels, levels - 1))
    const { xq, qq } = sumsOf(x, w, q)
    if (side !== 0 && !(qq > 0 && f(xq * xq) > f(best * qq))) continue
    scale = qq !== 0 ? f(xq / qq) : 0
    best = f(scale * xq)
    codes.set(q.map((each) => each + levels))
  }
  return scale
}

/**
 * As `fitSymmetric` with w = x², starting with the one scale, then moving one code at a time to where the
 * other codes want it, as long as that lessens the error, at most five times over.
 */
export function fitByCodes(x: Float32Array, levels: number, codes: Uint8Array): number {
  const largest = largestOf(x)
  codes.fill(0)
  if (Math.abs(largest) < leastMagnitude) return 0
  const inverse = f(-levels / largest)
  const q = Array.from(x, (value) => clamp(nearest(f(inverse * value)), -levels, levels - 1))
  const w = x.map((value) => value * value)
  const sums = sumsOf(x, w, q)
  for (let round = 0; round < 5; round++) {
    for (const [i, value] of x.entries()) {
      let xq = f(sums.xq - f(f(w[i] * value) * q[i]))
      let qq = f(sums.qq - f(f(w[i] * q[i]) * q[i]))
      if (!(xq > 0)) continue
      const next = clamp(nearest(f(f(value * qq) / xq)), -levels, levels - 1)
      if (next === q[i]) continue
      xq = f(xq + f(f(w[i] * value) * next))
      qq = f(qq + f(f(w[i] * next) * next))
      if (!(qq > 0 && f(f(xq * xq) * sums.qq) > f(f(sums.xq * sums.xq) * qq))) continue
      q[i] = next
      Object.assign(sums, { xq, qq })
    }
  }
  codes.set(q.map((each) => each + levels))
  return sums.qq > 0 ? f(sums.xq / sums.qq) : 0
}

/**
 * Where `fitAffine` searches: levels + low, levels + low + step, … times 1 / (max − min), `steps` + 1 in all.
 */
export interface Search {
  readonly low: number
  readonly step: number
  readonly steps: number
  /** Whether errors count by their magnitude, not by their square. */
  readonly absolute: boolean
  /** Whether what would be no code is cut off before it is rounded, which tells for tiny ranges only. */
  readonly bounded: boolean
}

/**
 * scale and shift ≥ 0 for x ≈ scale · q − shift, 0 ≤ q ≤ levels: from min(x, 0) … max(x) on, the codes of
 * each scale that is tried, and for these the scale and shift of least squares; what has the least error
 * stays.
 */
export function fitAffine(
  x: Float32Array,
  w: Float32Array,
  levels: number,
  { low, step, steps, absolute, bounded }: Search,
  codes: Uint8Array,
): { scale: number; shift: number } {
  const n = x.length
  let [least, most, sumW, sumX] = [x[0], x[0], w[0], f(w[0] * x[0])]
  for (let i = 1; i < n; i++) {
    if (x[i] < least) least = x[i]
    if (x[i] > most) most = x[i]
    sumW = f(sumW + w[i])
    sumX = f(sumX + f(w[i] * x[i]))
  }
  if (least > 0) least = 0
  codes.fill(0)
  if (most <= least) return { scale: 0, shift: -least }
  const errorOf = (q: Uint8Array, scale: number, min: number) => {
    let sum = 0
    for (let i = 0; i < n; i++) {
      const difference = f(f(f(scale * q[i]) + min) - x[i])
      sum = f(sum + f(w[i] * (absolute ? Math.abs(difference) : f(difference * difference))))
    }
    return sum
  }
  const first = f(levels / f(most - least))
  for (let i = 0; i < n; i++) codes[i] = clamp(nearest(f(first * f(x[i] - least))), 0, levels)
  let scale = f(1 / first)
  let error = errorOf(codes, scale, least)
  const q = new Uint8Array(n)
  for (let i = 0; i <= steps; i++) {
    // From the minimum of the best fit so far on, as ggml does.
    const inverse = f(f(f(f(low) + f(f(step) * i)) + levels) / f(most - least))
    let [sumQ, sumQQ, sumXQ] = [0, 0, 0]
    for (let j = 0; j < n; j++) {
      const v = f(inverse * f(x[j] - least))
      const limited = bounded ? (v > 0 ? Math.min(v, levels) : 0) : v
      q[j] = clamp(nearest(limited), 0, levels)
      const weighted = f(w[j] * q[j])
      sumQ = f(sumQ + weighted)
      sumQQ = f(sumQQ + f(weighted * q[j]))
      sumXQ = f(sumXQ + f(weighted * x[j]))
    }
    const determinant = f(f(sumW * sumQQ) - f(sumQ * sumQ))
    if (!(determinant > 0)) continue
    let s = f(f(f(sumW * sumXQ) - f(sumX * sumQ)) / determinant)
    let m = f(f(f(sumQQ * sumX) - f(sumQ * sumXQ)) / determinant)
    if (m > 0) [s, m] = [f(sumXQ / sumQQ), 0]
    const sum = errorOf(q, s, m)
    if (!(sum < error)) continue
    codes.set(q)
    ;[error, scale, least] = [sum, s, m]
  }
  return { scale, shift: -least }
}

/**
 * scale for x ≈ scale · q, 0 ≤ q ≤ levels, of values that are not negative: the best of nine scales around
 * max / levels, then codes moved one at a time as in `fitByCodes`.
 */
export function fitPositive(x: Float32Array, w: Float32Array, levels: number, codes: Uint8Array): number {
  let most = 0
  for (const value of x) most = Math.max(most, value)
  codes.fill(0)
  if (most < leastMagnitude) return 0
  const limit = (code: number) => Math.min(code, levels)
  const errorOf = (inverse: number, q: (code: number) => number) => {
    const scale = f(1 / inverse)
    let sum = 0
    for (const [i, value] of x.entries()) {
      const difference = f(value - f(scale * q(nearest(f(inverse * value)))))
      sum = f(sum + f(f(w[i] * difference) * difference))
    }
    return sum
  }
  let best = f(levels / most)
  let error = errorOf(best, (code) => code & 255)
  for (let side = -4; side <= 4; side++) {
    const inverse = f(f(f(f(0.1) * side) + levels) / most)
    const sum = side === 0 ? error : errorOf(inverse, limit)
    if (sum < error) [error, best] = [sum, inverse]
  }
  const q = Array.from(x, (value) => limit(nearest(f(best * value))))
  const sums = sumsOf(x, w, q)
  // ggml keeps them as bytes.
  codes.set(q)
  for (let round = 0, changed = true; round < 5 && changed; round++) {
    changed = false
    for (const [i, value] of x.entries()) {
      let xq = f(sums.xq - f(f(w[i] * value) * codes[i]))
      let qq = f(sums.qq - f(f(w[i] * codes[i]) * codes[i]))
      if (!(xq > 0 && qq > 0)) continue
      const next = limit(nearest(f(f(value * qq) / xq)))
      if (next === codes[i]) continue
      xq = f(xq + f(f(w[i] * value) * next))
      qq = f(qq + f(f(w[i] * next) * next))
      if (!(f(f(xq * xq) * sums.qq) > f(f(sums.xq * sums.xq) * qq))) continue
      codes[i] = next
      Object.assign(sums, { xq, qq })
      changed = true
    }
  }
  return sums.qq > 0 ? f(sums.xq / sums.qq) : 0
}
