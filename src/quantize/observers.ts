import { DTypeError, ShapeError } from '../core/errors.ts'
import { roundTo } from '../core/halves.ts'
import type { QType } from '../core/qtype.ts'
import type { MagnitudeHistogram } from './histogram.ts'

/** Chooses the scale of an activation from how often its magnitudes came. */
export type Observer = (histogram: MagnitudeHistogram, qtype: QType) => number

/** `absmax` moves with the batches, without a histogram; the others see all batches at once. */
export type ObserverName = 'absmax' | 'percentile' | 'mse' | 'histogram'

/**
 * scale = t / qmax, t the magnitude that `percent` of all values do not exceed; within a bin values are taken as evenly spread.
 * @throws ShapeError unless percent lies in 0..100, 0 excluded
 */
export function percentile({ percent = 99.99 }: { percent?: number } = {}): Observer {
  if (!(percent > 0 && percent <= 100)) throw new ShapeError(`percentile: percent must lie in 0..100, 0 excluded; received ${percent}`)
  return ({ counts, width, largest }, { qmax }) => {
    const wanted = (percent / 100) * total(counts)
    let below = 0
    for (const [bin, count] of counts.entries()) {
      if (below + count >= wanted && count > 0) return Math.min((bin + (wanted - below) / count) * width, largest) / qmax
      below += count
    }
    return largest / qmax
  }
}

/** The scale that minimizes the squared error of quantizing, among largest / qmax · 0.99ⁱ, i = 0 … 500. */
export const mse: Observer = (histogram, qtype) => {
  const errorIn = qtype.dtype === 'int8' ? integerError : floatError
  let [best, least] = [histogram.largest / qtype.qmax, Infinity]
  for (let i = 0; i <= 500; i++) {
    const scale = (histogram.largest / qtype.qmax) * 0.99 ** i
    let error = 0
    for (const [bin, count] of histogram.counts.entries())
      if (count > 0) error += count * errorIn(bin * histogram.width, histogram.width, scale, qtype)
    if (error < least) [best, least] = [scale, error]
  }
  return best
}

/** The mean of (x − scale · q)² over x evenly spread from `start` on, over `width`; q whole numbers up to qmax. */
function integerError(start: number, width: number, scale: number, { qmax }: QType): number {
  const units = width / scale
  return (scale ** 2 * (errorUpTo((start + width) / scale, qmax) - errorUpTo(start / scale, qmax))) / units
}

/** ∫ (t − q(t))² dt from 0 to t: 1/12 around every whole number passed, and the cube of what is left. */
function errorUpTo(t: number, qmax: number): number {
  const code = Math.min(Math.floor(t + 0.5), qmax)
  return code / 12 + (t - code) ** 3 / 3
}

/** The same for a float8, whose steps are wider than bins: at the middle of the bin. */
function floatError(start: number, width: number, scale: number, { qmax, dtype }: QType): number {
  const x = start + width / 2
  return (x - scale * roundTo(dtype, Math.min(x / scale, qmax))) ** 2
}

/**
 * The scale whose codes tell most about the values: the least divergence Σ p·ln(p / q) of the histogram cut off at t, what lies above
 * counted in its last bin, from the same with only qmax + 1 levels; scale = t / qmax, t above qmax + 1 bins.
 * Source: Migacz, "8-bit Inference with TensorRT", 2017.
 * @throws DTypeError unless the type is int8, whose levels are evenly spaced
 */
export const entropy: Observer = ({ counts, width, largest }, { name, dtype, qmax }) => {
  if (dtype !== 'int8') throw new DTypeError(`entropy: activations must be int8, whose levels are evenly spaced; received ${name}`)
  const used = counts.findLastIndex((count) => count > 0) + 1
  const all = total(counts)
  let [best, least] = [largest, Infinity]
  let inside = total(counts.subarray(0, qmax))
  for (let end = qmax + 1; end <= used; end++) {
    inside += counts[end - 1]
    const divergence = cutDivergence(counts, end, inside, all, qmax + 1)
    if (divergence < least) [best, least] = [Math.min(end * width, largest), divergence]
  }
  return best / qmax
}

/** The divergence of the first `end` bins, holding `inside` of `all` values, from themselves in `levels` levels. */
function cutDivergence(counts: Int32Array, end: number, inside: number, all: number, levels: number): number {
  let divergence = 0
  for (let level = 0; level < levels; level++) {
    const [first, next] = [Math.floor((level * end) / levels), Math.floor(((level + 1) * end) / levels)]
    let [sum, filled] = [0, 0]
    for (let b = first; b < next; b++) {
      sum += counts[b]
      if (counts[b] > 0) filled++
    }
    for (let b = first; b < next; b++) {
      const count = counts[b] + (b === end - 1 ? all - inside : 0)
      if (count === 0) continue
      // What was cut off lies where the level has nothing: no finite divergence.
      if (counts[b] === 0) return Infinity
      divergence += (count / all) * Math.log(count / all / (sum / filled / inside))
    }
  }
  return divergence
}

function total(counts: Int32Array): number {
  return counts.reduce((sum, count) => sum + count, 0)
}

/** The observers by name; null takes the moving absmax. */
export const observers: Record<ObserverName, Observer | null> = { absmax: null, percentile: percentile(), mse, histogram: entropy }
