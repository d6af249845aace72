import { roundHalfEven } from '../../../core/halves.ts'

/**
 * y = x limited to the codes of low … high: rne(low / scale) and rne(high / scale), by the reciprocal of
 * scale.
 * @param x [count] int8
 * @param scale [1]
 * @param y [count] int8, may be x
 */
export function clampInt8(
  x: Uint8Array,
  scale: Float32Array,
  low: number,
  high: number,
  y: Uint8Array,
  count: number,
): void {
  const inverse = scale[0] === 0 ? 0 : Math.fround(1 / scale[0])
  const [least, most] = codeRange(low, high, inverse)
  for (let i = 0; i < count; i++) y[i] = Math.max(least, Math.min(most, (x[i] << 24) >> 24))
}

/** The codes of the bounds of values, within those that there are. */
export function codeRange(low: number, high: number, inverse: number): [low: number, high: number] {
  return [codeOf(low, inverse), codeOf(high, inverse)]
}

function codeOf(bound: number, inverse: number): number {
  // An infinite bound times 0 is no number.
  if (Math.abs(bound) === Infinity) return bound > 0 ? 127 : -128
  return Math.min(Math.max(roundHalfEven(Math.fround(bound * inverse)), -128), 127)
}
