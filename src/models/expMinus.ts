/** e^−n for whole n, as far as it is above 0. */
const whole = Float64Array.from({ length: 747 }, (_, n) => Math.exp(-n))

/** e^−(i / 1024). */
const parts = Float64Array.from({ length: 1024 }, (_, i) => Math.exp(-i / 1024))

/**
 * e^−x for x ≥ 0, Infinity included, within 4 units in the last place: two tables and four terms of the
 * series. Several times as fast as `Math.exp`, which takes most of a millisecond for a large vocabulary.
 */
export function expMinus(x: number): number {
  const scaled = x < 746 ? x * 1024 : 746 * 1024
  const step = scaled | 0
  const r = (step - scaled) * (1 / 1024)
  const series = 1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24))))
  return whole[step >> 10] * parts[step & 1023] * series
}
