import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, roundHalfEven, roundTo, toNumbers } from '../../../core/halves.ts'

/**
 * shift[r] ← mean_c (scale[r]·q − (x[r,c] − e)), again and again: half-quadratic quantization's search for
 * the shifts of an affine type.
 *
 *     q = clamp(rne((x + shift) / scale), 0, levels)          the codes under the shifts so far
 *     e = shrink(x − (scale·q − shift)),  shrink(z) = sign(z) · relu(|z| − |z|^(norm − 1) / beta)
 *
 * A step is kept, and beta multiplied by kappa, while it lowers mean |x − (scale·q − shift)| over the whole
 * of x; the first that does not ends the search. Every operation is rounded to x's dtype, as is that mean;
 * sums are float64.
 * Whether a step lowers the mean error is decided on the device: reading it back would stop the queue twenty
 * times a layer.
 * Source: optimum-quanto 0.2.7, HqqOptimizer; Badri and Shaji, "Half-Quadratic Quantization of Large Machine
 * Learning Models", 2023.
 * @param x [rows, cols] float32, float16 or bfloat16; a row is a group
 * @param scale [rows] in x's dtype
 * @param shift [rows] in x's dtype: where the search starts, and what it finds
 * @param trial [rows] in x's dtype: the shifts of the last step, kept or not
 * @param next [rows] in x's dtype: the step behind that one, with which hqq itself ends
 * @param error [rows] float32: mean |x − (scale·q − trial)| of each row
 * @param iterations [1] int32: the steps taken, the last one included
 * @param levels the largest code, 2^bits − 1
 * @param norm of the error that is made small, 0 < norm ≤ 1
 */
export function hqqShift(
  x: HostArray,
  dtype: number,
  scale: HostArray,
  shift: HostArray,
  trial: HostArray,
  next: HostArray,
  error: Float32Array,
  iterations: Int32Array,
  rows: number,
  cols: number,
  levels: number,
  norm: number,
  beta: number,
  kappa: number,
  maxIterations: number,
): void {
  const name = dtypeOfCode(dtype)
  const round = (value: number) => roundTo(name, value)
  const values = toNumbers(name, x)
  const scales = toNumbers(name, scale)
  const product = (value: number, r: number, s: number) => {
    const code =
      scales[r] === 0 ? 0 : roundHalfEven(Math.min(Math.max(round(round(value + s) / scales[r]), 0), levels))
    return round(scales[r] * code)
  }
  const shrink = (z: number, weight: number) => {
    const smaller = round(Math.abs(z) - round(weight * round(Math.abs(z) ** (Math.fround(norm) - 1))))
    return Math.sign(z) * Math.max(smaller, 0)
  }
  let strength = Math.fround(beta)
  /** The mean error under the shifts of `trial`, that of each row, and the step that follows. */
  const pass = () => {
    const shifts = toNumbers(name, trial)
    const weight = Math.fround(1 / strength)
    let total = 0
    for (let r = 0; r < rows; r++) {
      let [distance, sum] = [0, 0]
      for (let i = r * cols; i < (r + 1) * cols; i++) {
        const scaled = product(values[i], r, shifts[r])
        const z = round(values[i] - round(scaled - shifts[r]))
        distance += Math.abs(z)
        sum += round(scaled - round(values[i] - shrink(z, weight)))
      }
      error[r] = distance / cols
      next[r] = encodeFloat(name, sum / cols)
      total += error[r]
    }
    return round(total / rows)
  }
  trial.set(shift as never)
  let best = pass()
  iterations[0] = 0
  while (iterations[0] < maxIterations) {
    trial.set(next as never)
    strength *= Math.fround(kappa)
    iterations[0]++
    const mean = pass()
    if (!(mean < best)) return
    best = mean
    shift.set(trial as never)
  }
}
