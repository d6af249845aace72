import type { KernelArg, KernelCase } from '../../case.ts'
import { counts, epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'
import { adamStep } from './adamStep.ts'

/**
 * The means err by roundings of their terms, where g = gradient + weightDecay · parameter may cancel; in the
 * quotient relative errors add up, the root halving that of its argument.
 */
function tolerance(args: readonly KernelArg[], output: number): Float64Array {
  const [p, gradient, m, v] = (args as Float32Array[]).slice(0, 4)
  const [stepSize, rate1, rate2, correction, eps, weightDecay, keep, count] = args.slice(4) as number[]
  const after = [p, gradient, m, v].map((array) => array.slice())
  adamStep(
    after[0],
    after[1],
    after[2],
    after[3],
    stepSize,
    rate1,
    rate2,
    correction,
    eps,
    weightDecay,
    keep,
    count,
  )
  return Float64Array.from(p, (_, i) => {
    const size = Math.abs(gradient[i]) + weightDecay * Math.abs(p[i])
    const g = gradient[i] + weightDecay * p[i]
    const meanError = epsilon * (Math.abs(m[i]) + 4 * rate1 * (size + Math.abs(m[i])))
    const squareError = epsilon * (v[i] + 3 * rate2 * (g * g + v[i]) + 4 * rate2 * Math.abs(g) * size)
    if (output === 2) return meanError
    if (output === 3) return squareError
    const denominator = Math.sqrt(after[3][i]) / correction + eps
    const update = (stepSize * Math.abs(after[2][i])) / denominator
    const rootError = squareError / (2 * Math.sqrt(after[3][i]) * correction)
    return (
      epsilon * 2 * keep * Math.abs(p[i]) +
      (stepSize * meanError) / denominator +
      update * (rootError / denominator + 6 * epsilon)
    )
  })
}

function stepCase(count: number, weightDecay: number, keep: number): KernelCase {
  // Step 3 of lr = 0.01, betas = (0.9, 0.99), eps = 1e-3 (large enough to be seen).
  const scalars = [0.01 / (1 - 0.9 ** 3), 0.1, 0.01, Math.sqrt(1 - 0.99 ** 3), 1e-3, weightDecay, keep].map(
    Math.fround,
  )
  const inBits = (index: number) => (args: KernelArg[]) =>
    replaced(args, index, inBfloat16(args[index] as Float32Array))
  return {
    name: `weightDecay=${weightDecay} keep=${keep} count=${count}`,
    args: (random) => {
      const square = normals(random, count, 0.3).map((x) => x * x)
      return [
        normals(random, count, 0.1),
        normals(random, count),
        normals(random, count, 0.2),
        square,
        ...scalars,
        count,
      ]
    },
    tolerance,
    defects: {
      'gradient in bfloat16': inBits(1),
      'mean in bfloat16': inBits(2),
      'square in bfloat16': inBits(3),
      'another step size': (args) => replaced(args, 4, (args[4] as number) * 1.0001),
      'no correction of the square': (args) => replaced(args, 7, 1),
      'no epsilon': (args) => replaced(args, 8, 0),
      'another weight decay': (args) => replaced(args, 9, (args[9] as number) + 0.01),
      'parameters kept whole or not': (args) => replaced(args, 10, 1.0001 - (args[10] as number) + 1),
    },
    work: { operations: 14 * count, bytes: 4 * count * 7 },
  }
}

/** A parameter that has had no gradient yet, and gradients that are not finite. */
const special: KernelCase = {
  name: 'zero, infinite and NaN gradients',
  args: () => {
    const zeros = () => new Float32Array(5)
    return [
      Float32Array.of(1, -2, 3, 4, 5),
      Float32Array.of(0, -0, NaN, Infinity, 1),
      zeros(),
      zeros(),
      0.1,
      0.1,
      0.01,
      0.1,
      1e-8,
      0,
      1,
      5,
    ]
  },
  tolerance: () => 4 * epsilon * 5,
}

export const cases = [
  ...counts.map((count) => stepCase(count, 0.25, 1)),
  ...counts.map((count) => stepCase(count, 0, 0.99)),
  special,
]
