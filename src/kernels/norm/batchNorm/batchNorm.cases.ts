import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'
import { channelIndices } from './batchNorm.ts'

/** Batches (or batches and rows), channels, values of a channel side by side. */
export const channelShapes = [
  [1, 1, 2],
  [2, 1, 1],
  [4, 5, 9],
  [7, 33, 1],
  [3, 4, 172],
  [2, 3, 20011],
] as const

/** Mean and deviation of every channel, in float64. */
export function channelMoments(
  x: Float32Array,
  outer: number,
  channels: number,
  inner: number,
  normEpsilon: number,
) {
  return Array.from({ length: channels }, (_, c) => {
    const at = channelIndices(c, outer, channels, inner)
    const mean = at.reduce((sum, i) => sum + x[i], 0) / at.length
    const variance = at.reduce((sum, i) => sum + (x[i] - mean) ** 2, 0) / at.length
    return { at, mean, variance, inverse: 1 / Math.sqrt(variance + normEpsilon) }
  })
}

/**
 * Statistics are float64 and rounded; x less the rounded mean, its factor, product, sum and the definition
 * err by half an ulp each.
 */
function tolerance(args: readonly KernelArg[], output: number): 'exact' | Float64Array {
  const [x, weight, bias, normEpsilon, , , , , runningMean, runningVariance] = args as (Float32Array | null)[]
  const [outer, channels, inner] = args.slice(-3) as number[]
  if (output === 10) return 'exact'
  const moments = channelMoments(x as Float32Array, outer, channels, inner, normEpsilon as unknown as number)
  if (output === 5) {
    const bound = new Float64Array(outer * channels * inner)
    for (const [c, { at, mean, inverse }] of moments.entries()) {
      const factor = inverse * Math.abs(weight?.[c] ?? 1)
      for (const i of at) {
        const distance = Math.abs((x as Float32Array)[i] - mean)
        bound[i] = epsilon * (factor * (Math.abs(mean) / 2 + 2.5 * distance) + Math.abs(bias?.[c] ?? 0))
      }
    }
    return bound
  }
  return Float64Array.from(moments, ({ at, mean, variance, inverse }, c) => {
    const sums = at.length * 2 ** -50 * (Math.abs(mean) + Math.sqrt(variance))
    if (output === 6) return epsilon * Math.abs(mean) + sums
    if (output === 7) return epsilon * inverse
    if (output === 8) return epsilon * (Math.abs((runningMean as Float32Array)[c]) + Math.abs(mean)) + sums
    return epsilon * (Math.abs((runningVariance as Float32Array)[c]) + 2 * variance)
  })
}

function batchNormCase(outer: number, channels: number, inner: number, kept: boolean): KernelCase {
  return {
    name: `${outer}x${channels}x${inner}${kept ? '' : ' without weight, bias and running statistics'}`,
    args: (random) => {
      const perChannel = (mean: number) => (kept ? normals(random, channels, 0.2, mean) : null)
      return [
        normals(random, outer * channels * inner, 1, 0.5),
        ...[perChannel(1), perChannel(0), 1e-5, 0.1],
        ...[
          new Float32Array(outer * channels * inner),
          new Float32Array(channels),
          new Float32Array(channels),
        ],
        ...[perChannel(0), perChannel(1), kept ? Int32Array.of(-1, 0) : null, outer, channels, inner],
      ]
    },
    tolerance,
    defects: {
      'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
      'epsilon 1e-3': (args) => replaced(args, 3, 1e-3),
      ...(kept && {
        'momentum 0.2': (args: KernelArg[]) => replaced(args, 4, 0.2),
        'bias in bfloat16': (args: KernelArg[]) => replaced(args, 2, inBfloat16(args[2] as Float32Array)),
      }),
    },
  }
}

export const cases: KernelCase[] = channelShapes.flatMap(([outer, channels, inner]) =>
  [true, false].map((kept) => batchNormCase(outer, channels, inner, kept)),
)
