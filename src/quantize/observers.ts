import { DTypeError } from '../core/errors.ts'
import { roundTo } from '../core/halves.ts'
import { check, within } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { aQType, type QType } from '../core/qtype.ts'
import { aHistogram, type MagnitudeHistogram } from './histogram.ts'

/** Chooses the scale of an activation from how often its magnitudes came. */
export type Observer = (histogram: MagnitudeHistogram, qtype: QType) => number

/** `absmax` moves with the batches, without a histogram; the others see all batches at once. */
export type ObserverName = 'absmax' | 'percentile' | 'mse' | 'histogram'

/** How much of the values must fit. */
export interface PercentileOptions {
  /** Default 99.99. */
  percent?: number
}

const percentileKinds: OptionKinds<PercentileOptions> = { percent: within(0, 100, { excluded: 0 }) }

function checkArguments(observer: string, histogram: MagnitudeHistogram, qtype: QType): void {
  check(observer, 'histogram', histogram, aHistogram)
  check(observer, 'qtype', qtype, aQType)
}

/**
 * scale = t / qmax, t the magnitude that `percent` of all values do not exceed; within a bin values are taken
 * as evenly spread.
 * @throws ShapeError unless percent lies in 0..100, 0 excluded
 */
export function percentile(options: PercentileOptions = {}): Observer {
  checkOptions('percentile', options, percentileKinds)
  const { percent = 99.99 } = options
  return ({ counts, width, largest }, { qmax }) => {
    const wanted = (percent / 100) * total(counts)
    let below = 0
    for (const [bin, count] of counts.entries()) {
      if (below + count >= wanted && count > 0)
        return Math.min((bin + (wanted - below) / count) * width, largest) / qmax
      below += count
    }
    return largest / qmax
  }
}

/** The scale that minimizes the squared error of quantizing, among largest / qmax · 0.99ⁱ, i = 0 … 500. */
export const mse: Observer = (histogram, qtype) => {
  checkArguments('mse', histogram, qtype)
  const { counts, width, largest } = histogram
  const errorsOf = qtype.dtype === 'int8' ? integerError(qtype, width) : floatError(qtype, width)
  let [best, least] = [largest / qtype.qmax, Infinity]
  for (let i = 0; i <= 500; i++) {
    const scale = (largest / qtype.qmax) * 0.99 ** i
    const errorIn = errorsOf(scale)
    let error = 0
    // Plain loops: 500 times 2048 bins for each of a model's scales.
    for (let bin = 0; bin < counts.length; bin++) if (counts[bin] > 0) error += counts[bin] * errorIn(bin)
    if (error < least) [best, least] = [scale, error]
  }
  return best
}

/** From a scale and a bin to the mean of (x − scale · q)² over x evenly spread in the bin. */
type BinError = (scale: number) => (bin: number) => number

/**
 * q whole numbers up to qmax: ∫ (t − q(t))² dt from 0 to t is 1/12 around every whole number passed, and the
 * cube of what is left.
 */
function integerError({ qmax }: QType, width: number): BinError {
  const upTo = (t: number) => {
    const code = Math.min(Math.floor(t + 0.5), qmax)
    const rest = t - code
    return code / 12 + (rest * rest * rest) / 3
  }
  return (scale) => {
    const units = width / scale
    const factor = scale ** 2 / units
    return (bin) => factor * (upTo((bin + 1) * units) - upTo(bin * units))
  }
}

/** A float8, whose steps are wider than bins: at the middle of the bin. */
function floatError({ dtype, qmax }: QType, width: number): BinError {
  return (scale) => (bin) => {
    const x = (bin + 0.5) * width
    return (x - scale * roundTo(dtype, Math.min(x / scale, qmax))) ** 2
  }
}

/**
 * The scale whose codes tell most about the values: the least divergence Σ p·ln(p / q) of the histogram cut
 * off at t, what lies above counted in its last bin, from the same with only qmax + 1 levels; scale = t /
 * qmax, t above qmax + 1 bins.
 * Source: Migacz, "8-bit Inference with TensorRT", 2017.
 * @throws DTypeError unless the type is int8, whose levels are evenly spaced
 */
export const entropy: Observer = (histogram, qtype) => {
  checkArguments('entropy', histogram, qtype)
  const { counts, width, largest } = histogram
  const { name, dtype, qmax } = qtype
  if (dtype !== 'int8')
    throw new DTypeError(
      `entropy: activations must be int8, whose levels are evenly spaced; received ${name}`,
    )
  const used = counts.findLastIndex((count) => count > 0) + 1
  const sums = sumsOf(counts)
  let [best, least] = [largest, Infinity]
  for (let end = qmax + 1; end <= used; end++) {
    const divergence = cutDivergence(counts, sums, end, qmax + 1)
    if (divergence < least) [best, least] = [Math.min(end * width, largest), divergence]
  }
  return best / qmax
}

/** Sums over the bins before each: their counts c, c·ln(c), and how many are not empty. */
interface Sums {
  count: Float64Array
  logarithms: Float64Array
  filled: Int32Array
}

function sumsOf(counts: Int32Array): Sums {
  const length = counts.length + 1
  const sums = {
    count: new Float64Array(length),
    logarithms: new Float64Array(length),
    filled: new Int32Array(length),
  }
  for (const [bin, count] of counts.entries()) {
    sums.count[bin + 1] = sums.count[bin] + count
    sums.logarithms[bin + 1] = sums.logarithms[bin] + timesLog(count, count)
    sums.filled[bin + 1] = sums.filled[bin] + Math.sign(count)
  }
  return sums
}

/** x · ln(y), 0 where x is. */
function timesLog(x: number, y: number): number {
  return x === 0 ? 0 : x * Math.log(y)
}

/**
 * The divergence of the first `end` bins, what was cut off added to the last, from themselves in `levels`
 * levels.
 */
function cutDivergence(
  counts: Int32Array,
  { count, logarithms, filled }: Sums,
  end: number,
  levels: number,
): number {
  const [inside, all] = [count[end], count[counts.length]]
  const cut = all - inside
  const last = counts[end - 1]
  // What was cut off lies where the level has nothing: no finite divergence.
  if (cut > 0 && last === 0) return Infinity
  let divergence = logarithms[end - 1] + timesLog(last + cut, last + cut) - timesLog(all, all)
  for (let level = 0, first = 0; level < levels; level++) {
    const next = Math.floor(((level + 1) * end) / levels)
    const sum = count[next] - count[first]
    // Every bin of a level that is not empty gets an even share.
    divergence -= timesLog(next === end ? sum + cut : sum, sum / (filled[next] - filled[first]) / inside)
    first = next
  }
  return divergence / all
}

function total(counts: Int32Array): number {
  return counts.reduce((sum, count) => sum + count, 0)
}

/** The observers by name; null takes the moving absmax. */
export const observers: Record<ObserverName, Observer | null> = {
  absmax: null,
  percentile: percentile(),
  mse,
  histogram: entropy,
}
