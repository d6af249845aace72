import { epsilon, tiny } from '../../inputs.ts'

/** How near to the middle between two codes the roundings of floats may still decide: 127 · 12ε, and some. */
const margin = 2e-4

/**
 * Inputs of rows, each drawn until no value of the row that `valuesOf` makes of them lies where the roundings
 * of floats decide which code it gets, so that codes compare bit for bit.
 */
export function clearRows<Inputs>(
  rows: number,
  groupSize: number,
  draw: () => Inputs,
  valuesOf: (inputs: Inputs) => Float32Array,
): Inputs[] {
  return Array.from({ length: rows }, () => {
    for (;;) {
      const inputs = draw()
      if (isClear(valuesOf(inputs), groupSize)) return inputs
    }
  })
}

function isClear(y: Float32Array, groupSize: number): boolean {
  for (let c = 0; c < y.length; c += groupSize) {
    const group = y.subarray(c, c + groupSize)
    const absmax = group.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    for (const value of group) {
      const units = Math.abs((127 * value) / absmax)
      if (Math.abs(units - Math.floor(units) - 0.5) < margin) return false
    }
  }
  return true
}

/** Bounds of scales, a 127th of values that err by at most 5ε·|y|. */
export function scaleTolerance(scale: Float32Array): Float64Array {
  return Float64Array.from(scale, (value) => 6 * epsilon * value + 2 * tiny)
}

/** Rows one behind the other. */
export function joined(rows: readonly Float32Array[]): Float32Array {
  return Float32Array.from(rows.flatMap((row) => [...row]))
}
