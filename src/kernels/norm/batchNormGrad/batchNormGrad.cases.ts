import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'
import { channelMoments, channelShapes } from '../batchNorm/batchNorm.cases.ts'

/**
 * Sums are float64; the five operations on each value and the definition err by half an ulp of the terms that
 * are subtracted.
 */
function tolerance(args: readonly KernelArg[], output: number): Float64Array {
  const [x, dy, weight] = args as Float32Array[]
  const [outer, channels, inner] = args.slice(-3) as number[]
  const dx = new Float64Array(x.length)
  const sums = channelMoments(x, outer, channels, inner, 1e-5).map(({ at, mean, inverse }, c) => {
    const n = at.length
    let [sum, dot, sumOf, dotOf] = [0, 0, 0, 0]
    for (const i of at) {
      sum += dy[i]
      dot += dy[i] * (x[i] - mean) * inverse
      sumOf += Math.abs(dy[i])
      dotOf += Math.abs(dy[i]) * (Math.abs(x[i]) + Math.abs(mean)) * inverse
    }
    const errors = {
      dot: epsilon * Math.abs(dot) + n * 2 ** -50 * dotOf,
      sum: epsilon * Math.abs(sum) + n * 2 ** -50 * sumOf,
    }
    for (const i of at) {
      const terms =
        Math.abs(dy[i]) + Math.abs(sum / n) + (Math.abs((x[i] - mean) * inverse) * Math.abs(dot)) / n
      dx[i] = Math.abs(weight?.[c] ?? 1) * inverse * (3 * epsilon * terms + errors.sum / n + errors.dot / n)
    }
    return errors
  })
  if (output === 5) return dx
  return Float64Array.from(sums, ({ dot, sum }) => (output === 6 ? dot : sum))
}

function gradCase(outer: number, channels: number, inner: number, weighted: boolean): KernelCase {
  const count = outer * channels * inner
  return {
    name: `${outer}x${channels}x${inner}${weighted ? '' : ' without weight'}`,
    args(random) {
      const x = normals(random, count, 1, 0.5)
      const moments = channelMoments(x, outer, channels, inner, 1e-5)
      const perChannel = () => new Float32Array(channels)
      return [
        ...[x, normals(random, count), weighted ? normals(random, channels, 0.2, 1) : null],
        ...[
          Float32Array.from(moments, ({ mean }) => mean),
          Float32Array.from(moments, ({ inverse }) => inverse),
        ],
        ...[new Float32Array(count), perChannel(), perChannel(), outer, channels, inner],
      ]
    },
    tolerance,
    defects: {
      'dy in bfloat16': (args) => replaced(args, 1, inBfloat16(args[1] as Float32Array)),
      'inverse in bfloat16': (args) => replaced(args, 4, inBfloat16(args[4] as Float32Array)),
    },
  }
}

export const cases: KernelCase[] = channelShapes.flatMap(([outer, channels, inner]) =>
  [true, false].map((weighted) => gradCase(outer, channels, inner, weighted)),
)
