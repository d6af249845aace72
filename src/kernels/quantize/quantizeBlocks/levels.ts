import { clamp, largestOf, leastMagnitude, nearest, putHalf, squareSum } from './fits.ts'
import { inverseOf, weigh } from './plainBlocks.ts'
import type { BlockParts } from './quantizeBlocks.ts'

/* IQ4_NL and IQ4_XS: sixteen levels, closer together around 0. */

const f = Math.fround
const levels = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

/** The place of the level nearest to x, the higher one in the middle. */
function nearestLevel(x: number): number {
  return levels.slice(1).filter((level, i) => f(x + x) >= levels[i] + level).length
}

/**
 * scale for x ≈ scale · level: of 16 scales, the first of which puts the largest magnitude at 127 and the
 * others are around that which puts it at −127, the one with the least error, as in `fitSymmetric`.
 */
function fitLevels(x: Float32Array, w: Float32Array): number {
  const largest = largestOf(x)
  if (Math.abs(largest) < leastMagnitude) return 0
  const others = Array.from({ length: 15 }, (_, i) => f((i - 7 + levels[0]) / largest))
  let [scale, best] = [0, 0]
  for (const inverse of [f(1 / f(-largest / levels[0])), ...others]) {
    let [xq, qq] = [0, 0]
    for (const [i, value] of x.entries()) {
      const level = levels[nearestLevel(f(inverse * value))]
      const weighted = f(w[i] * level)
      xq = f(xq + f(weighted * value))
      qq = f(qq + f(weighted * level))
    }
    if (!(qq > 0 && f(xq * xq) > f(best * qq))) continue
    scale = f(xq / qq)
    best = f(scale * xq)
  }
  return scale
}

function weightsOf(x: Float32Array, importance: Float32Array | null, variance: number): Float32Array {
  return importance ? weigh(x, importance, variance) : x.map((value) => value * value)
}

function levelCodes(x: Float32Array, scale: number, codes: Uint8Array): void {
  codes.set(Array.from(x, (value) => nearestLevel(f(inverseOf(scale) * value))))
}

export function levelBlock(
  x: Float32Array,
  importance: Float32Array | null,
  _: number,
  to: BlockParts,
): void {
  const d = fitLevels(x, weightsOf(x, importance, f(squareSum(x) * (2 / 32))))
  levelCodes(x, d, to.codes)
  putHalf(to.scale, d)
}

/** IQ4_XS: of the groups' scales the largest is −32 · d. */
export function levelSuperBlock(
  x: Float32Array,
  importance: Float32Array | null,
  _: number,
  to: BlockParts,
): void {
  const variance = f(squareSum(x) * (2 / 256))
  const groups = Array.from({ length: 8 }, (_, g) => [32 * g, 32 * g + 32] as const)
  const scales = groups.map(([first, end]) => {
    const values = x.subarray(first, end)
    return fitLevels(values, weightsOf(values, importance?.subarray(first, end) ?? null, variance))
  })
  const d = f(-largestOf(Float32Array.from(scales)) / 32)
  putHalf(to.scale, d)
  for (const [g, [first, end]] of groups.entries()) {
    const code = clamp(nearest(f(inverseOf(d) * scales[g])), -32, 31)
    to.scaleCodes[g] = code + 32
    levelCodes(x.subarray(first, end), f(d * code), to.codes.subarray(first, end))
  }
}
